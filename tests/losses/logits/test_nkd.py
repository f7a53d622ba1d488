import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import NKD, decoupled_divergence, normalized_cross_entropy


def scores(seed, rows=6, classes=5):
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER, LABELS = scores(1), scores(2), torch.tensor([0, 4, 2, 2, 1, 3])


def of_others(student, temperature):
    without = normalized_cross_entropy(student, TEACHER, LABELS, 0.0, temperature)
    return normalized_cross_entropy(student, TEACHER, LABELS, 1.0, temperature) - without


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_other_classes_part_is_dkds_and_the_teachers_entropy(temperature):
    divergence = decoupled_divergence(STUDENT, TEACHER, LABELS, 0.0, 1.0, temperature)
    torch.testing.assert_close(of_others(STUDENT, temperature) - of_others(TEACHER, temperature), divergence)


def test_the_labels_part_is_the_cross_entropy_by_the_teachers_trust():
    rows = torch.arange(6)
    expected = -TEACHER.softmax(1)[rows, LABELS] * STUDENT.log_softmax(1)[rows, LABELS]
    torch.testing.assert_close(normalized_cross_entropy(STUDENT, TEACHER, LABELS, 0.0), expected)


def test_equal_scores_have_their_closed_form():
    same = torch.zeros(2, 5, dtype=torch.float64)
    value = normalized_cross_entropy(same, same, LABELS[:2], 1.5, 2.0)
    assert value.tolist() == pytest.approx([math.log(5) / 5 + 1.5 * 4 * math.log(4)] * 2)


def test_gaps_at_which_probabilities_vanish_and_masks_are_finite():
    student = torch.tensor([[0.0, 200.0, -200.0, -math.inf]], requires_grad=True)
    teacher = torch.tensor([[200.0, 0.0, 200.0, -math.inf]])
    value = normalized_cross_entropy(student, teacher, torch.tensor([0]), 1.0)
    assert value.item() == pytest.approx(0.5 * 200 + 400)
    value.sum().backward()
    assert student.grad.isfinite().all()


def test_two_classes_are_refused():
    with pytest.raises(InputError, match="NKD: the model scores 2 classes"):
        NKD()({"logits": STUDENT[:, :2]}, {"logits": TEACHER[:, :2]}, {"label": LABELS.clamp(max=1)})
