"""Multinomial logistic regression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["Linear", "fit_logistic"]

STEPS = 500
TOLERANCE = 1e-7  # of the largest entry of the gradient


@dataclass(frozen=True)
class Linear:
    """An affine map to the scores of C classes.

    Args:
        weight: (C, D).
        bias: (C,).
    """

    weight: Float[Tensor, "C D"]
    bias: Float[Tensor, "C"]

    def scores(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """Return the score of each class, of N rows."""
        return F.linear(features.to(self.weight), self.weight, self.bias)


def fit_logistic(
    features: Float[Tensor, "N D"],
    labels: Int64[Tensor, "N"],
    classes: int,
    l2: float,
    start: Linear | None = None,
) -> Linear:
    """Return what makes ``mean cross entropy + l2 / 2 * |weight|²`` least; the bias is not drawn to 0.

    By L-BFGS with a line search that satisfies the strong Wolfe conditions, in float64, at most 500 steps; there is one
    minimum, and nothing is drawn. The same as scikit-learn's ``LogisticRegression(C=1 / (l2 * N))``.

    Args:
        features: of N samples.
        labels: in [0, ``classes``).
        classes: C.
        l2: above 0.
        start: where to begin, from a neighbouring ``l2``; 0 where there is none.
    """
    features = features.detach().double()
    centre = features.mean(0)  # the minimum is the same, moved by the bias, and it is found in fewer steps
    centred = features - centre
    weight = features.new_zeros(classes, features.shape[1]) if start is None else start.weight.clone()
    bias = features.new_zeros(classes) if start is None else start.bias + start.weight @ centre
    weight.requires_grad_()
    bias.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, tolerance_grad=TOLERANCE, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(centred, weight, bias), labels) + l2 / 2 * weight.square().sum()
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    fitted = weight.detach()
    return Linear(fitted, bias.detach() - fitted @ centre)
