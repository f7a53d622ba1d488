import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import CWD, channel_divergence
from tests.losses.cases.stages import randoms

STUDENT, TEACHER = randoms(1, 6, 4, 5, 3), randoms(2, 6, 4, 5, 3)
ALL = torch.ones(6, 5, 3, dtype=torch.bool)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_batchmean_over_channels_of_torchs_divergence_is_the_same(temperature):
    ours, theirs = ((x.flatten(2).flatten(0, 1) / temperature).log_softmax(1) for x in (STUDENT, TEACHER))
    expected = temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    torch.testing.assert_close(channel_divergence(STUDENT, TEACHER, ALL, temperature).mean(), expected)


def test_a_closed_form():
    """One channel of two places: the teacher's odds are 3 to 1, the student's even."""
    teacher = torch.tensor([math.log(3.0), 0.0]).reshape(1, 1, 1, 2).double()
    found = channel_divergence(torch.zeros_like(teacher), teacher, ALL[:1, :1, :2], 1.0)
    assert found.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_large_gaps_are_finite():
    teacher = torch.zeros(1, 1, 1, 2)
    teacher[..., 0] = 1e4
    student = (-teacher).requires_grad_()
    value = channel_divergence(student, teacher, ALL[:1, :1, :2], 1.0)
    value.sum().backward()
    assert value.item() == pytest.approx(2e4 - 1e4)
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0, -1, math.nan])
def test_temperatures_are_above_zero(temperature):
    with pytest.raises(InputError, match="CWD: temperature is"):
        CWD(temperature=temperature)


def test_scores_of_whole_samples_are_referred_to_another_term():
    scores = {"logits": torch.randn(3, 5)}
    with pytest.raises(InputError, match=r"CWD: teacher\.logits is \(3, 5\)"):
        CWD().build(scores, scores, {})
