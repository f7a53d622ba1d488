import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import GradNorm, Objective, gradnorm_step
from tests.losses.data import unit
from tests.losses.weighting.toys import Nothing, Pull, terms
from tests.oracles import weighting as oracle

WEIGHTS, NORMS, RATES = (0.5, 1.5, 1.0), (3.0, 0.1, 1.0), (0.9, 0.2, 0.6)


def vector(values):
    return torch.tensor(values, dtype=torch.float64)


def stepped(weights=WEIGHTS, norms=NORMS, rates=RATES, alpha=1.5, lr=0.02):
    return gradnorm_step(vector(weights), vector(norms), vector(rates), alpha, lr)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_the_step_goes_down_the_papers_loss_in_log_weights(alpha):
    lr, h = 0.02, 1e-6
    expected = []
    for k, weight in enumerate(WEIGHTS):
        both = [[w * math.exp(sign * h * (i == k)) for i, w in enumerate(WEIGHTS)] for sign in (1, -1)]
        high, low = (oracle.gradnorm_loss(w, NORMS, RATES, alpha, constants=WEIGHTS) for w in both)
        expected.append(weight * math.exp(-lr * (high - low) / (2 * h)))
    expected = [3 * weight / sum(expected) for weight in expected]
    assert stepped(alpha=alpha, lr=lr).tolist() == pytest.approx(expected, rel=1e-8)


def test_at_rest_norms_are_as_the_paper_wants_them():
    norms, weights = vector([1000.0, 1.0, 0.01]), torch.ones(3, dtype=torch.float64)
    rates = vector([1.0, 1.0, 2.0])
    for _ in range(2000):
        weights = gradnorm_step(weights, norms, rates, 1.0, 0.01)
    pulls = weights * norms
    assert (pulls / pulls[0]).tolist() == pytest.approx([1, 1, 2], rel=0.05)
    assert weights.sum().item() == pytest.approx(3)


def test_norms_on_target_stay():
    assert stepped(weights=(1, 1, 1), norms=(2, 2, 2), rates=(0.5, 0.5, 0.5)).tolist() == [1, 1, 1]


def test_a_term_without_gradient_is_left_out_of_the_step():
    found = stepped(norms=(3.0, 0.0, 1.0))
    two = gradnorm_step(vector([0.5, 1.0]), vector([3.0, 1.0]), vector([0.9, 0.6]), 1.5, 0.02)
    ratio = found[0] / found[2]
    assert ratio.item() == pytest.approx((two[0] / two[1]).item())
    assert found.sum().item() == pytest.approx(3)
    assert stepped(norms=(0.0, 0.0, 0.0)).tolist() == pytest.approx(list(WEIGHTS))


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_numbers_that_are_not_finite_leave_the_weights_as_they_are(broken):
    assert stepped(norms=(3.0, broken, 1.0)).tolist() == list(WEIGHTS)
    assert stepped(rates=(0.9, broken, 0.6)).tolist() == list(WEIGHTS)


def test_weights_stay_above_zero_whatever_the_learning_rate():
    weights = vector([1.0, 1.0])
    for _ in range(50):
        weights = gradnorm_step(weights, vector([1e6, 1e-6]), vector([0.0, 1.0]), 1.5, 1e3)
        assert (weights > 0).all()
        assert weights.isfinite().all()


def test_terms_that_are_all_done_have_equal_rates():
    assert stepped(weights=(1, 1, 1), norms=(1, 1, 1), rates=(0.0, 0.0, 0.0)).tolist() == [1, 1, 1]


def training(terms, steps, alpha=1.0, lr=0.05):
    objective = Objective(terms, GradNorm(alpha, lr)).double()
    x = {"image": (2 * unit(5, 3, 1)).requires_grad_(), "text": unit(5, 3, 2).requires_grad_()}
    seen = []
    for _ in range(steps):
        total, parts = objective(x, {}, {})
        seen.append((total, parts, objective.weights(), {name: tensor.detach().clone() for name, tensor in x.items()}))
        total.backward()
        for tensor in x.values():
            tensor.data -= 0.5 * tensor.grad
            tensor.grad = None
    return objective, seen


def test_training_follows_the_oracle_and_uses_the_weights_it_logs():
    alpha, lr = 1.0, 0.05
    _, seen = training(terms(), 6, alpha, lr)
    weights, first = [1.0, 1.0, 1.0], None
    for total, parts, logged, x in seen:
        assert list(logged.values()) == pytest.approx(weights)
        assert total.item() == pytest.approx(sum(logged[name] * parts[name].item() for name in parts))
        goals = {"near": ("image", 0.1, 1), "far": ("image", vector([-3.0, 2.0, 1.0]), 0.1), "other": ("text", 1.0, 5)}
        norms = [(scale * (x[name] - goal) / 5).norm().item() for name, goal, scale in goals.values()]
        values = [part.item() for part in parts.values()]
        first = first or values
        rates = [value / start for value, start in zip(values, first, strict=True)]
        weights = gradnorm_step(vector(weights), vector(norms), vector(rates), alpha, lr).tolist()


def test_the_gradient_is_that_of_the_weighted_sum():
    _, seen = training(terms(), 3)
    x, logged = seen[-1][3], seen[-1][2]
    leaf = x["image"].requires_grad_()
    plain = logged["near"] * Pull("image", 0.1)(x, {}, {}) + logged["far"] * terms()["far"](x, {}, {})
    plain.backward()
    objective, _ = training(terms(), 2)
    again = {"image": x["image"].detach().requires_grad_(), "text": x["text"]}
    objective(again, {}, {})[0].backward()
    torch.testing.assert_close(again["image"].grad, leaf.grad)


def test_a_term_that_finds_nothing_keeps_its_share_and_counts_from_its_first_value():
    objective, seen = training({"near": Pull("image"), "other": Pull("text", 1.0), "none": Nothing("text")}, 5)
    assert seen[-1][2]["none"] == pytest.approx(1, abs=0.3)
    assert objective.weighting.first[2] == 0
    assert all(math.isfinite(weight) for weight in seen[-1][2].values())


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(InputError, match="GradNorm: alpha is -1"):
        GradNorm(alpha=-1)
    with pytest.raises(InputError, match="GradNorm: lr is 0"):
        GradNorm(lr=0)
