import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from kdmm.analysis.logistic import fit_logistic
from tests.losses.data import unit

N, D, C = 120, 6, 4
LABELS = (unit(N, D, 1) @ unit(D, C, 2) + 0.5 * unit(N, C, 3)).argmax(1)
FEATURES = unit(N, D, 1) + torch.arange(D) / 4  # off centre, as embeddings are


def objective(linear, l2):
    cross_entropy = torch.nn.functional.cross_entropy(linear.scores(FEATURES), LABELS)
    return (cross_entropy + l2 / 2 * linear.weight.square().sum()).item()


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_it_is_scikit_learns(l2):
    ours = fit_logistic(FEATURES, LABELS, C, l2)
    theirs = LogisticRegression(C=1 / (l2 * N), tol=1e-10, max_iter=10_000).fit(FEATURES.numpy(), LABELS.numpy())
    np.testing.assert_allclose(ours.weight.numpy(), theirs.coef_, atol=2e-4 * abs(theirs.coef_).max())
    chances = ours.scores(FEATURES).softmax(1).numpy()
    np.testing.assert_allclose(chances, theirs.predict_proba(FEATURES.numpy()), atol=1e-4)


@pytest.mark.parametrize("l2", [1.0, 1e-3])
def test_it_is_the_minimum(l2):
    fitted = fit_logistic(FEATURES, LABELS, C, l2)
    weight, bias = fitted.weight.clone().requires_grad_(), fitted.bias.clone().requires_grad_()
    value = torch.nn.functional.cross_entropy(FEATURES @ weight.T + bias, LABELS) + l2 / 2 * weight.square().sum()
    value.backward()
    assert weight.grad.abs().max() < 1e-6
    assert bias.grad.abs().max() < 1e-6
    assert value.item() == pytest.approx(objective(fitted, l2))


def test_where_it_begins_does_not_matter():
    start = fit_logistic(FEATURES, LABELS, C, 1.0)
    torch.testing.assert_close(
        fit_logistic(FEATURES, LABELS, C, 1e-2, start).weight,
        fit_logistic(FEATURES, LABELS, C, 1e-2).weight,
        atol=1e-4,
        rtol=0,
    )
    assert not start.weight.requires_grad


def test_a_strong_penalty_leaves_the_shares_of_the_classes():
    fitted = fit_logistic(FEATURES, LABELS, C, 1e3)
    shares = LABELS.bincount(minlength=C) / N
    torch.testing.assert_close(fitted.scores(FEATURES).softmax(1), shares.double().expand(N, C), atol=1e-3, rtol=0)
