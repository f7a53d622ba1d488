import math

import pytest
import torch

from kdmm.losses import fitted_bias
from tests.losses.data import unit

SCALES = [0.0, 1.0, 10.0, 100.0]


def affinities(n, scale, dtype=torch.float64):
    first = unit(n, 16, 1)
    second = torch.nn.functional.normalize(first + 0.5 * unit(n, 16, 2), dim=1)
    return (scale * first @ second.T).to(dtype)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n", [2, 8, 64])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_as_many_pairs_are_positive_as_there_are(n, scale, dtype, rtol):
    logits = affinities(n, scale, dtype)
    for positives in (float(n), 0.3 * n, 1.7 * n):
        found = (logits + fitted_bias(logits, positives)).double().sigmoid().sum()
        assert found.item() == pytest.approx(positives, rel=rtol)


def test_it_is_where_the_cross_entropy_is_least():
    logits = affinities(8, 10.0)
    bias = fitted_bias(logits, 8.0).requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        logits + bias, torch.eye(8, dtype=torch.float64), reduction="sum"
    )
    loss.backward()
    assert abs(bias.grad) < 1e-9


def test_equal_logits_have_the_closed_form():
    """One of n is positive: SigLIP's own start of the bias, -log(n - 1) at a logit of 0."""
    assert fitted_bias(torch.full((8, 8), 3.0), 8.0).item() == pytest.approx(-3 - math.log(7), rel=1e-6)


def test_a_constant_in_the_logits_is_taken_back():
    logits = affinities(8, 10.0)
    assert fitted_bias(logits + 4, 8.0).item() == pytest.approx(fitted_bias(logits, 8.0).item() - 4, rel=1e-10)


def test_two_far_groups_converge_although_newton_alone_would_not():
    logits = torch.cat([torch.full((1000,), -60.0), torch.full((50,), 60.0)])[None].double()
    for positives in (10.0, 49.0, 51.0, 500.0, 1049.0):
        found = (logits + fitted_bias(logits, positives)).sigmoid().sum()
        assert found.item() == pytest.approx(positives, rel=1e-6)


@pytest.mark.parametrize("rows", [0, 1])
def test_without_negatives_it_is_finite(rows):
    assert fitted_bias(torch.full((rows, rows), 5.0), float(rows)).isfinite()
