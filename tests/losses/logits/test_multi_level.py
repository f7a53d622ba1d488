import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import KD, MultiLevelLogits, multi_level_distance


def scores(seed, rows=6, classes=5):
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = scores(1), scores(2)


def test_instances_alone_are_kd_summed_over_temperatures():
    found = multi_level_distance(STUDENT, TEACHER, (1.0, 3.0), (1.0, 0.0, 0.0))
    both = ({"logits": STUDENT}, {"logits": TEACHER}, {})
    torch.testing.assert_close(found, KD(1.0)(*both) + KD(3.0)(*both))


def test_certain_predictions_have_their_closed_form():
    # sure of classes 0, 0, 1 against 0, 1, 1: the Gram matrices are of ones and zeros
    student, teacher = (1000.0 * torch.eye(2, dtype=torch.float64)[list(rows)] for rows in ((0, 0, 1), (0, 1, 1)))
    # between samples, (0, 1) and (1, 2) differ in both orders: 4 squares over 3 samples
    assert multi_level_distance(student, teacher, (1.0,), (0.0, 1.0, 0.0)).item() == pytest.approx(4 / 3)
    # classes: diag(2, 1) and diag(1, 2), over 2 classes
    assert multi_level_distance(student, teacher, (1.0,), (0.0, 0.0, 1.0)).item() == pytest.approx(1.0)


def test_settings_are_checked():
    with pytest.raises(InputError, match="temperatures is empty"):
        MultiLevelLogits([])
    with pytest.raises(InputError, match="MultiLevelLogits: temperatures is 0"):
        MultiLevelLogits([2.0, 0])
    with pytest.raises(InputError, match="MultiLevelLogits: classes is -1"):
        MultiLevelLogits(classes=-1)
