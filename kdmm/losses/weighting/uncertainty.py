"""Weights learned as the uncertainty of each term."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.losses.precision import full_precision
from kdmm.losses.term import checked_number
from kdmm.losses.weighting.weighting import Weighting

__all__ = ["Uncertainty", "uncertainty_total"]


@full_precision
def uncertainty_total(values: Float[Tensor, "K"], log_variances: Float[Tensor, "K"]) -> Float[Tensor, ""]:
    """Return ``Σ_k exp(-s_k) L_k + s_k / 2``: terms weighted by exp(-s), and a price for a small weight.

    For fixed L_k > 0 it is least where exp(-s_k) = 1 / (2 L_k), and there it is ``Σ_k 1/2 + log(2 L_k) / 2``.

    Args:
        values: L, the terms' values.
        log_variances: s = log σ².
    """
    return ((-log_variances).exp() * values + log_variances / 2).sum()


class Uncertainty(Weighting):
    """Learned weights exp(-s_k), with s_k the log-variance of term k (Kendall et al. 2018, arXiv:1705.07115).

    `uncertainty_total` is minimized over the student and s together, by the module's optimizer; s starts at 0, so the
    weights at 1. In several processes the gradients of s are averaged like any other. At rest term k has the weight
    1 / (2 L_k): terms of any units come to an equal value. At the learning rates of large models s moves slowly:
    ``lr_scale: {objective.weighting: 100}`` of the optimization makes it faster.

    We differ from the paper in taking its form for classification, L / σ² + log σ, for every term; it writes L / (2σ²)
    for regression, which leads to the same weights at rest. It bounds nothing: a value that stays at 0 (a term that
    finds nothing in the batches) or below would drive its weight to infinity. So s is held where the weights are
    between 1 / ``most`` and ``most``.

    The total, and so ``val/loss``, holds s too and may be below 0: choose the best checkpoint by a metric.

    Args:
        most: the largest weight; its inverse is the least.
    """

    paper = "Kendall et al. 2018, arXiv:1705.07115"

    def __init__(self, most: float | int = 1000.0) -> None:
        super().__init__()
        self.limit = math.log(checked_number("Uncertainty: most", most, above=1.0))

    def make(self, names: tuple[str, ...]) -> None:
        """Make the log-variances, 0 each."""
        self.names = names
        self.log_variances = nn.Parameter(torch.zeros(len(names)))

    def weights(self, progress: float) -> dict[str, float]:
        """Return exp(-s)."""
        held = self.log_variances.detach().clamp(-self.limit, self.limit)
        return dict(zip(self.names, (-held).exp().tolist(), strict=True))

    def forward(
        self, parts: Mapping[str, Float[Tensor, ""]], progress: float, outputs: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Return `uncertainty_total`."""
        if self.is_learning:
            with torch.no_grad():  # in place: a clamp has no gradient at its limits, and s would stay there
                self.log_variances.clamp_(-self.limit, self.limit)
        held = self.log_variances if self.is_learning else self.log_variances.clamp(-self.limit, self.limit)
        return uncertainty_total(torch.stack([parts[name] for name in self.names]), held)
