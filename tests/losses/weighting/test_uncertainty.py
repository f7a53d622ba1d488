import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import Uncertainty, uncertainty_total

NAMES = ("a", "b", "c")


def strategy(**settings):
    weighting = Uncertainty(**settings)
    weighting.check(NAMES)
    return weighting.double()


def parts(*values):
    return dict(zip(NAMES, torch.tensor(values, dtype=torch.float64).requires_grad_(), strict=True))


def test_at_first_it_is_the_plain_sum():
    weighting = strategy()
    assert weighting(parts(1, 2, 4), 0.0, {}) == 7
    assert weighting.weights(0.0) == {"a": 1, "b": 1, "c": 1}


def test_value_and_gradients_in_closed_form():
    s = [0.5, -1.0, 2.0]
    weighting, values = strategy(), torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    weighting.log_variances.data = torch.tensor(s, dtype=torch.float64)
    total = weighting(dict(zip(NAMES, values, strict=True)), 0.0, {})
    assert total.item() == pytest.approx(sum(math.exp(-x) * y + x / 2 for x, y in zip(s, values.tolist(), strict=True)))
    total.backward()
    assert values.grad.tolist() == pytest.approx([math.exp(-x) for x in s])
    expected = [0.5 - math.exp(-x) * y for x, y in zip(s, values.tolist(), strict=True)]
    assert weighting.log_variances.grad.tolist() == pytest.approx(expected)
    assert weighting.weights(0.0) == pytest.approx({name: math.exp(-x) for name, x in zip(NAMES, s, strict=True)})


def test_at_rest_weights_are_half_the_inverse_values():
    weighting, values = strategy(), (0.01, 1.0, 30.0)
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(1500):
        optimizer.zero_grad()
        total = weighting(parts(*values), 0.0, {})
        total.backward()
        optimizer.step()
    assert list(weighting.weights(0.0).values()) == pytest.approx([1 / (2 * value) for value in values], rel=1e-3)
    assert total.item() == pytest.approx(sum(0.5 + math.log(2 * value) / 2 for value in values), rel=1e-4)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_values_of_zero_or_below_keep_the_weight_bounded_and_it_comes_back(value):
    weighting = strategy(most=10)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=1.0)

    def train(values, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            weighting(parts(*values), 0.0, {}).backward()
            optimizer.step()

    train((value, 1.0, 1e6), 30)
    assert weighting.weights(0.0)["a"] == pytest.approx(10)
    assert weighting.weights(0.0)["c"] == pytest.approx(0.1)
    optimizer.param_groups[0]["lr"] = 0.1
    train((1.0, 1.0, 0.0), 300)
    assert weighting.weights(0.0)["a"] == pytest.approx(0.5, rel=0.01)
    assert weighting.weights(0.0)["c"] == pytest.approx(10)


def test_evaluation_holds_the_weights_without_changing_the_parameter():
    weighting = strategy(most=10).eval()
    weighting.log_variances.data.fill_(-100.0)
    assert weighting(parts(1, 1, 1), 0.0, {}).item() == pytest.approx(3 * (10 - math.log(10) / 2))
    assert (weighting.log_variances == -100).all()


def test_half_precision_values_are_summed_in_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = uncertainty_total(torch.full((3,), 0.1, dtype=torch.bfloat16), torch.zeros(3))
    assert total.dtype is torch.float32


@pytest.mark.parametrize("most", [1, 0.5, math.nan, math.inf])
def test_a_largest_weight_that_bounds_nothing_is_refused(most):
    with pytest.raises(InputError, match="Uncertainty: most is"):
        Uncertainty(most)
