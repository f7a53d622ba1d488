import math

import pytest
import torch
from torch.distributions import Normal

from kdmm.losses import VID, gaussian_surprise, hint_error
from tests.losses.cases.stages import randoms


def raw(variance):
    """What softplus makes the variance of."""
    return math.log(math.expm1(variance - 1e-5))


def test_it_is_the_density_of_a_normal_distribution():
    mean, teacher, variances = randoms(1, 3, 2), randoms(2, 3, 2), torch.tensor([0.3, 4.0], dtype=torch.float64)
    surprise = gaussian_surprise(mean, teacher, torch.tensor([raw(v) for v in variances.tolist()]).double())
    expected = -Normal(mean, variances.sqrt()).log_prob(teacher).mean(1) - math.log(2 * math.pi) / 2
    torch.testing.assert_close(surprise, expected, rtol=1e-6, atol=1e-6)


def test_the_variance_learns_to_be_the_squared_error():
    mean, teacher = torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 3.0, dtype=torch.float64)
    near = {v: gaussian_surprise(mean, teacher, torch.tensor([raw(v)]).double()).item() for v in (8.0, 9.0, 10.0)}
    assert min(near, key=near.get) == 9.0
    assert near[9.0] == pytest.approx((math.log(9) + 1) / 2, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 4), (3, 4, 3, 2)])
def test_at_first_it_is_half_the_squared_error_of_a_map_that_is_always_there(shape):
    student, teacher = {"x": randoms(1, *shape)}, {"x": randoms(2, *shape)}
    term = VID({"x": "x"})
    term.build(student, teacher, {})
    term.double()
    assert [name for name, _ in term.named_parameters() if "variance" not in name] != []
    expected = hint_error(term.adapters[0](student["x"], teacher["x"]), teacher["x"]).mean() / 2
    torch.testing.assert_close(term(student, teacher, {}), expected, rtol=1e-4, atol=0)


def test_it_is_bounded_where_a_channel_is_predicted_exactly():
    x = torch.zeros(1, 1)
    assert gaussian_surprise(x, x, torch.full((1,), -1000.0)).item() == pytest.approx(math.log(1e-5) / 2)
