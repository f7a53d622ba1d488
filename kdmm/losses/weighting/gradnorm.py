"""Weights by which all terms pull equally hard at the student's outputs."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import all_reduce_sum, world_size
from kdmm.losses.term import checked_number
from kdmm.losses.weighting.entrances import AtOutputs, entrances, gradients_at, inner_product
from kdmm.losses.weighting.weighting import mean_over_ranks, weighted_sum

__all__ = ["GradNorm", "gradnorm_step"]


def gradnorm_step(
    weights: Float[Tensor, "K"],
    norms: Float[Tensor, "K"],
    rates: Float[Tensor, "K"],
    alpha: float,
    lr: float,
) -> Float[Tensor, "K"]:
    """Return the weights after one step down GradNorm's loss in their logarithms.

    With the gradient norms G_k = w_k n_k of the weighted terms, their mean Ḡ, and how far each term still is from
    done against the others, r_k = rate_k / mean rate::

        L_grad      = Σ_k |G_k - Ḡ r_k^α| / Ḡ        Ḡ r_k^α and the divisor are constants
        log w_k    -= lr dL_grad / dlog w_k = lr sign(G_k - Ḡ r_k^α) G_k / Ḡ
        w          *= K / Σ_k w_k

    Terms whose gradient is 0 are left out of the means and of the step. Where anything is not finite, the weights
    stay as they are.

    Args:
        weights: w, above 0.
        norms: n, the gradient norms of the unweighted terms.
        rates: each term's value over its first one, 0 or more.
        alpha: α, 0 or more: at 0 all G become equal, above it terms that lag get larger ones.
        lr: the learning rate of log w.
    """
    counts = norms > 0
    number = counts.sum().clamp(min=1)
    pulls = weights * norms
    pull = pulls.sum() / number
    rate = torch.where(counts, rates, 0.0).sum() / number
    targets = pull * torch.where(rate > 0, rates / rate, 1.0).pow(alpha)
    steps = torch.where(counts, lr * (pulls - targets).sign() * pulls / pull, 0.0)
    stepped = weights * (-steps).exp()
    stepped = stepped * (len(weights) / stepped.sum())
    finite = stepped.isfinite().all() & norms.isfinite().all() & rates.isfinite().all()
    return torch.where(finite & (stepped > 0).all(), stepped, weights)


class GradNorm(AtOutputs):
    """Weights learned such that the terms' gradients have like norms (Chen et al. 2018, arXiv:1711.02257).

    `gradnorm_step` after each step, from the norms at the student's outputs and each term's value over that of the
    first step in which it was above 0. As in the paper the weights start at 1, and a step uses those found before it.

    We differ from the paper:

    - Norms are taken at the student's outputs (embeddings, logits, taps), all of them as one vector, over the samples
      of all ranks; in the paper at the weights of the last layer that all tasks share, of which terms on different
      outputs have none. Terms on different outputs are thus compared in those outputs' units. Scalars such as
      ``logit_scale`` are not looked at.
    - The loss is divided by the mean norm, and the step is taken in log w, in closed form. At rest the weights are
      the same; but distillation's terms can differ in norm by powers of ten, for which no learning rate of w itself
      is both fast and stable, and w stays above 0.
    - A value below 0 counts as 0 in the rate.

    Args:
        alpha: the asymmetry α, 1.5 in most of the paper; 0 makes the norms equal.
        lr: the learning rate of the logarithms of the weights, independent of the module's.
    """

    paper = "Chen et al. 2018, arXiv:1711.02257"

    def __init__(self, alpha: float | int = 1.5, lr: float | int = 0.025) -> None:
        super().__init__()
        self.alpha = checked_number("GradNorm: alpha", alpha, least=0.0)
        self.lr = checked_number("GradNorm: lr", lr, above=0.0)

    def make(self, names: tuple[str, ...]) -> None:
        """Make the weights, and a place for the first values."""
        self.names = names
        self.factors: Tensor
        self.following: Tensor
        self.first: Tensor
        self.register_buffer("factors", torch.ones(len(names)))
        self.register_buffer("following", torch.ones(len(names)))  # what the last step found, for the next one
        self.register_buffer("first", torch.zeros(len(names)))  # 0 where no value above 0 was seen yet

    def weights(self, progress: float) -> dict[str, float]:
        """Return the learned weights."""
        return dict(zip(self.names, self.factors.tolist(), strict=True))

    def forward(
        self, parts: Mapping[str, Float[Tensor, ""]], progress: float, outputs: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Return the weighted sum."""
        if self.is_learning:
            self.factors.copy_(self.following)
            self._learn({name: parts[name] for name in self.names}, outputs)
        factors = self.factors.clone()  # the buffer may change before the backward pass
        return weighted_sum(parts, dict(zip(self.names, factors, strict=True)))

    def _learn(self, parts: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
        places = entrances(outputs)
        gradients = [gradients_at(places, part) for part in parts.values()]
        with torch.no_grad():
            squares = torch.stack([inner_product(gradient, gradient, self.factors) for gradient in gradients])
            norms = all_reduce_sum(squares).sqrt() / world_size()
            values = mean_over_ranks(parts, self.factors).clamp(min=0)
            seen = (self.first == 0) & values.isfinite()
            self.first.copy_(torch.where(seen, values, self.first))
            rates = torch.where(self.first > 0, values / self.first, 1.0)
            self.following.copy_(gradnorm_step(self.factors, norms, rates, self.alpha, self.lr))
