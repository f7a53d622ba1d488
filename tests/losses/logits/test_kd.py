import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import KD, softmax_divergence, standardized
from tests.losses.data import flags


def scores(seed, rows=6, classes=5):
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = scores(1), scores(2)


def test_it_is_the_mean_over_samples_that_both_models_score_under_the_names_given():
    student = {"head": STUDENT, "present/head": flags("110111")}
    teacher = {"scores": TEACHER, "present/scores": flags("111101")}
    value = KD(2, student="head", teacher="scores")(student, teacher, {})
    expected = softmax_divergence(STUDENT, TEACHER, temperature=2)[flags("110101")].mean()
    torch.testing.assert_close(value, expected)


def test_z_scores_have_mean_0_and_the_populations_std_1():
    z = standardized(STUDENT)
    torch.testing.assert_close(z.mean(1), torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(z.std(1, correction=0), torch.ones(6, dtype=torch.float64))


def test_masked_classes_stay_masked_and_do_not_count_for_z_scores():
    masked = torch.cat([STUDENT, torch.full((6, 2), -math.inf, dtype=torch.float64)], 1).requires_grad_()
    z = standardized(masked)
    torch.testing.assert_close(z[:, :5], standardized(STUDENT))
    assert z[:, 5:].isneginf().all()
    softmax_divergence(z, masked.detach()).sum().backward()
    assert masked.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_scores_have_z_scores_of_0_and_a_finite_gradient(dtype):
    equal = torch.full((2, 5), 3.0, dtype=dtype, requires_grad=True)
    z = standardized(equal)
    assert (z == 0).all()
    softmax_divergence(z, TEACHER[:2].to(dtype)).sum().backward()
    assert equal.grad.isfinite().all()


def test_masks_by_minus_infinity_are_handled_by_the_term():
    student, teacher = STUDENT.clone(), TEACHER.clone()
    student[:, 0] = teacher[:, 0] = -math.inf
    for standardize in (False, True):
        term = KD(standardize=standardize)
        ours = student.clone().requires_grad_()
        value = term({"logits": ours}, {"logits": teacher}, {})
        torch.testing.assert_close(value, term({"logits": STUDENT[:, 1:]}, {"logits": TEACHER[:, 1:]}, {}))
        value.backward()
        assert ours.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_the_temperature_is_above_0(temperature):
    with pytest.raises(InputError, match="KD: temperature is"):
        KD(temperature)


def test_other_classes_are_refused():
    with pytest.raises(InputError, match=r"student\.logits scores 5 classes, and teacher\.logits 3"):
        KD()({"logits": STUDENT}, {"logits": scores(3, classes=3)}, {})


def test_one_class_is_refused_because_the_loss_would_be_0():
    with pytest.raises(InputError, match=r"has the shape \(6, 1\).* two or more classes"):
        KD()({"logits": STUDENT[:, :1]}, {"logits": TEACHER[:, :1]}, {})
