import pytest
import torch

from kdmm.errors import InputError
from kdmm.metrics import Accuracy

SCORES = torch.tensor([[3.0, 1, 2], [0, 5, 1], [2, 2, 0], [0, 1, 9], [4, 0, 5]])
TARGET = torch.tensor([0, 1, 0, 0, -1])
IDS = list("abcde")


def measured(metric, scores=SCORES, target=TARGET, ids=IDS, **extra):
    metric.update({"logits": scores, **extra}, {}, {"id": ids, "label": target})
    return {name: float(value) for name, value in metric.compute().items()}


def test_counts_by_hand():
    found = measured(Accuracy(k=[1, 2]))
    # a right; b right; c tied with class 1, which ranks before it; d third; e has no label
    assert found["top1"] == pytest.approx(2 / 4)
    assert found["top2"] == pytest.approx(3 / 4)
    assert found["mean_per_class"] == pytest.approx((1 / 3 + 1) / 2)


def test_the_calibration_error_of_a_constant_confidence_is_its_distance_from_the_accuracy():
    scores = torch.tensor([[2.0, 0], [2, 0], [2, 0], [2, 0]])
    target = torch.tensor([0, 0, 0, 1])
    confidence = torch.sigmoid(torch.tensor(2.0)).item()
    assert measured(Accuracy(), scores, target, list("abcd"))["calibration_error"] == pytest.approx(confidence - 0.75)


def test_a_sample_that_comes_again_counts_once_and_one_without_scores_not():
    again = torch.cat([SCORES, SCORES[:1]]), torch.cat([TARGET, TARGET[:1]])
    assert measured(Accuracy(), *again, [*IDS, "a"])["top1"] == pytest.approx(2 / 4)
    flag = torch.tensor([False, True, True, True, True])
    assert measured(Accuracy(), **{"present/logits": flag})["top1"] == pytest.approx(1 / 3)


def test_the_teachers_stand_under_its_name():
    metric = Accuracy(role="teacher")
    metric.update({}, {"logits": SCORES}, {"id": IDS, "label": TARGET})
    assert metric.compute()["teacher/top1"] == pytest.approx(2 / 4)


def test_what_cannot_be_counted_is_explained():
    with pytest.raises(InputError, match=r"labels from 0 to 3, but the student has 3 classes"):
        measured(Accuracy(), target=torch.tensor([0, 1, 2, 3, 0]))
    with pytest.raises(InputError, match=r"has seen no sample with a 'label'"):
        measured(Accuracy(), target=torch.full((5,), -1))
