import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import DynamicWeightAverage, Linear, dynamic_weights
from tests.oracles import weighting as oracle

NAMES = ("a", "b", "c")


def strategy(window, **settings):
    weighting = DynamicWeightAverage(window, **settings)
    weighting.check(NAMES)
    return weighting.double()


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def step(weighting, values, progress=0.0):
    parts = dict(zip(NAMES, vector(*values), strict=True))
    return weighting(parts, progress, {}), parts


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_weights_are_those_of_the_paper(temperature):
    newer, older = (1.0, 0.2, 30.0), (2.0, 0.21, 20.0)
    found = dynamic_weights(vector(*newer), vector(*older), temperature)
    assert found.tolist() == pytest.approx(oracle.dynamic_weights(newer, older, temperature))
    assert found.sum().item() == pytest.approx(3)


def test_weights_do_not_depend_on_the_terms_units():
    newer, older = vector(1.0, 0.2, 30.0), vector(2.0, 0.3, 20.0)
    units = vector(1e-3, 1, 1e4)
    torch.testing.assert_close(dynamic_weights(units * newer, units * older), dynamic_weights(newer, older))


@pytest.mark.parametrize(
    ("newer", "older"), [(1.0, 0.0), (0.0, 0.0), (math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (-1, 1), (1, -1)]
)
def test_a_term_of_unknown_pace_counts_as_one_that_stands_still(newer, older):
    found = dynamic_weights(vector(newer, 1.0, 0.5), vector(older, 1.0, 1.0))
    assert found.tolist() == pytest.approx(oracle.dynamic_weights((1, 1, 0.5), (1, 1, 1), 2.0))


def test_a_ratio_that_is_huge_gives_finite_weights():
    assert dynamic_weights(vector(1e30, 1, 1), vector(1e-30, 1, 1)).tolist() == pytest.approx([3, 0, 0])


def test_windows_are_means_and_weights_change_where_a_window_begins():
    weighting = strategy(2, temperature=1)
    values = [(4, 1, 3), (6, 1, 1), (2, 1, 1), (4, 3, 1), (9, 9, 9), (5, 5, 5), (1, 1, 1)]  # means (5,1,2), (3,2,1), 7
    logged = []
    for each in values:
        total, parts = step(weighting, each)
        logged.append(weighting.weights(0.0))
        assert total.item() == pytest.approx(sum(logged[-1][name] * parts[name].item() for name in NAMES))
    one = [1, 1, 1]
    third, fourth = oracle.dynamic_weights((3, 2, 1), (5, 1, 2), 1), oracle.dynamic_weights((7,) * 3, (3, 2, 1), 1)
    for found, expected in zip(logged, [one, one, one, one, third, third, fourth], strict=True):
        assert list(found.values()) == pytest.approx(expected)


def test_given_weights_and_schedules_are_multiplied():
    weighting = strategy(1, weights={"a": 10, "b": Linear(0, 4), "c": 0})
    for values in ((4, 1, 1), (2, 1, 1)):
        step(weighting, values)
    total, _ = step(weighting, (1, 1, 1), progress=0.5)
    a, b, _ = oracle.dynamic_weights((2, 1, 1), (4, 1, 1), 2.0)
    assert weighting.weights(0.5) == pytest.approx({"a": 10 * a, "b": 2 * b, "c": 0})
    assert total.item() == pytest.approx(10 * a + 2 * b)


def test_a_value_that_is_not_finite_is_forgotten_after_two_windows():
    weighting = strategy(1)
    for values in ((1, 1, 1), (math.nan, 1, 1), (2, 1, 1), (1, 1, 1), (1, 1, 1)):
        step(weighting, values)
        assert all(math.isfinite(weight) for weight in weighting.weights(0.0).values())
    assert list(weighting.weights(0.0).values()) == pytest.approx(oracle.dynamic_weights((1, 1, 1), (2, 1, 1), 2.0))


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(InputError, match="window is 0"):
        DynamicWeightAverage(0)
    with pytest.raises(InputError, match="temperature is 0"):
        DynamicWeightAverage(5, temperature=0)
