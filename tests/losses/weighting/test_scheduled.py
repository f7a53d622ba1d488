import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import Linear, Scheduled


def test_total_is_the_weighted_sum_at_that_progress():
    weighting = Scheduled({"a": 2, "b": Linear(0, 10)})
    parts = {"a": torch.tensor(3.0), "b": torch.tensor(0.5)}
    assert weighting.weights(0.4) == {"a": 2, "b": 4}
    assert weighting(parts, 0.4, {}) == 2 * 3 + 4 * 0.5


def test_a_weight_of_zero_gives_zero_gradient_and_not_none():
    x = torch.tensor(3.0, requires_grad=True)
    Scheduled({"a": 0.0})({"a": x * x}, 0.5, {}).backward()
    assert x.grad == 0


def test_equal_names_fit_in_any_order():
    Scheduled({"a": 1, "b": 1}).check(("b", "a"))


@pytest.mark.parametrize("weights", [{"hard": 1}, {"hard": 1, "afinity": 1}, {"hard": 1, "affinity": 1, "more": 1}, {}])
def test_different_names_are_listed(weights):
    with pytest.raises(InputError) as raised:
        Scheduled(weights).check(("hard", "affinity"))
    assert "Terms: hard, affinity." in str(raised.value)
    assert f"Weights: {', '.join(weights) or 'none'}." in str(raised.value)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'affinity'"):
        Scheduled({"hard": 1, "afinity": 1}).check(("hard", "affinity"))
