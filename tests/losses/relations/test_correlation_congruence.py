import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import CorrelationCongruence, correlation_difference
from tests.losses.data import unit

STUDENT, TEACHER = unit(6, 5, 1), unit(6, 4, 2)


def test_its_expansion_approaches_the_gaussian_kernel():
    kernels = [torch.exp(-0.7 * torch.cdist(x, x) ** 2) for x in (STUDENT, TEACHER)]
    exact = (kernels[0] - kernels[1]).square().mean()
    errors = [
        abs(correlation_difference(STUDENT, TEACHER, gamma=0.7, order=p).mean() - exact).item() for p in (2, 6, 14)
    ]
    assert errors[0] > 1e-4 > errors[1] > 1e-9 > errors[2]


def test_orthogonal_against_equal_vectors_has_the_closed_form():
    student, teacher = torch.eye(3, dtype=torch.float64), torch.ones(3, 2, dtype=torch.float64)
    assert correlation_difference(student, teacher, "bilinear").tolist() == pytest.approx([2 / 3] * 3)
    gap = math.exp(-0.8) * (0.8 + 0.8**2 / 2)  # the powers above 0
    assert correlation_difference(student, teacher).tolist() == pytest.approx([2 / 3 * gap**2] * 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0}, "gamma is 0"),
        ({"order": 0}, "order is 0. Give 1 or more"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        CorrelationCongruence("image", "image", **settings)
