import pytest
import torch
import torch.nn.functional as F

from kdmm.losses import PKD, channel_correlation_loss
from tests.losses.cases.stages import randoms

STUDENT, TEACHER = randoms(1, 40, 3), randoms(2, 40, 3)


def test_it_is_half_the_squared_difference_of_standardized_channels():
    ours, theirs = ((x - x.mean(0)) / x.std(0, correction=0) for x in (STUDENT, TEACHER))
    torch.testing.assert_close(channel_correlation_loss(STUDENT, TEACHER), F.mse_loss(ours, theirs) / 2)


@pytest.mark.parametrize(("factor", "expected"), [(3.0, 0.0), (-3.0, 2.0)])
def test_what_goes_along_has_0_and_what_goes_against_2(factor, expected):
    found = channel_correlation_loss(factor * TEACHER + 5, TEACHER)
    assert found.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_a_constant_channel_has_no_correlation_and_no_gradient(constant, dtype, whose):
    student, teacher = STUDENT.to(dtype).clone(), TEACHER.to(dtype).clone()
    (student if whose == "student" else teacher)[:, 1] = constant
    student.requires_grad_()
    value = channel_correlation_loss(student, teacher)
    value.backward()
    others = channel_correlation_loss(student[:, [0, 2]], teacher[:, [0, 2]])
    torch.testing.assert_close(value, (2 * others + 1) / 3)
    assert student.grad.isfinite().all()
    assert (student.grad[:, 1] == 0).all()
    assert (student.grad[:, 0] != 0).all()


def test_float32_is_precise_far_from_zero():
    student = (STUDENT + 1e3).float()
    expected = channel_correlation_loss(student.double(), TEACHER)
    torch.testing.assert_close(channel_correlation_loss(student, TEACHER.float()).double(), expected, rtol=1e-4, atol=0)


def test_small_activations_count_like_large_ones():
    expected = channel_correlation_loss(STUDENT, TEACHER)
    for scale in (1e-8, 1e8):
        found = channel_correlation_loss((scale * STUDENT).float(), (scale * TEACHER).float())
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)


def test_padding_has_no_part():
    marked = torch.arange(6).expand(4, 6) < torch.tensor([6, 2, 3, 1])[:, None]
    ours, theirs = randoms(1, 4, 6, 3), randoms(2, 4, 6, 3)
    student, teacher = ({"x": torch.where(marked[..., None], x, torch.nan), "valid/x": marked} for x in (ours, theirs))
    expected = channel_correlation_loss(ours[marked], theirs[marked])
    torch.testing.assert_close(PKD("x", "x")(student, teacher, {}), expected)
