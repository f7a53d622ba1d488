"""Weights by how fast each term has fallen of late."""

from collections.abc import Collection, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.losses.term import checked_number
from kdmm.losses.weighting.scheduled import Scheduled
from kdmm.losses.weighting.schedules import Schedule
from kdmm.losses.weighting.weighting import Weighting, mean_over_ranks, weighted_sum

__all__ = ["DynamicWeightAverage", "dynamic_weights"]


def dynamic_weights(
    newer: Float[Tensor, "K"], older: Float[Tensor, "K"], temperature: float = 2.0
) -> Float[Tensor, "K"]:
    """Return ``λ_k = K softmax_k(r_k / temperature)`` with ``r_k = newer_k / older_k``; the weights sum to K.

    A term whose values say nothing about its pace counts as one that stands still, r = 1: the older mean is not above
    0, or the ratio is not finite or below 0.

    Args:
        newer: the terms' mean values in the last window.
        older: those in the window before.
        temperature: the higher, the more equal the weights.
    """
    ratios = newer / older
    ratios = torch.where((older > 0) & ratios.isfinite() & (ratios >= 0), ratios, 1.0)
    return len(ratios) * (ratios / temperature).softmax(0)


class DynamicWeightAverage(Weighting):
    """A term that falls slower than the others gets more weight (DWA of Liu et al. 2019, arXiv:1803.10704).

    `dynamic_weights` of the mean values in the last two windows. The weights are 1 in the first two windows, as in the
    paper, and change where a window begins.

    We differ from the paper in the window, an epoch there and a number of steps here: large data has few epochs. And
    since the ratios do not depend on the terms' units, which in distillation differ by powers of ten, ``weights`` set
    the units: they are multiplied by λ.

    Args:
        window: the number of steps over which values are averaged.
        temperature: T of the paper, 2 there; the higher, the more equal the weights.
        weights: by term, numbers or schedules that are multiplied by λ; None for 1 each.
    """

    paper = "Liu et al. 2019, arXiv:1803.10704"

    def __init__(
        self,
        window: int,
        temperature: float | int = 2.0,
        weights: Mapping[str, float | int | Schedule] | None = None,
    ) -> None:
        super().__init__()
        if window < 1:
            raise InputError(f"DynamicWeightAverage: window is {window}. Give a number of steps, 1 or more.")
        self.window = window
        self.temperature = checked_number("DynamicWeightAverage: temperature", temperature, above=0.0)
        self.given = weights

    def check(self, names: Collection[str]) -> None:
        """Raise `InputError` unless there are several terms, and weights for each of them if any."""
        self.base = Scheduled.of(self.given, names)
        super().check(names)

    def make(self, names: tuple[str, ...]) -> None:
        """Make the weights and what the windows hold."""
        self.names = names
        self.factors: Tensor
        self.sums: Tensor
        self.older: Tensor
        self.steps: Tensor
        self.register_buffer("factors", torch.ones(len(names)))
        self.register_buffer("sums", torch.zeros(len(names)))  # of this window
        self.register_buffer("older", torch.zeros(len(names)))  # means of the window before; 0 before there is one
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))  # in this window

    def weights(self, progress: float) -> dict[str, float]:
        """Return λ times the given weights."""
        base = self.base.weights(progress)
        return {name: factor * base[name] for name, factor in zip(self.names, self.factors.tolist(), strict=True)}

    def forward(
        self, parts: Mapping[str, Float[Tensor, ""]], progress: float, outputs: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Return the weighted sum."""
        if self.is_learning:
            self._see({name: parts[name] for name in self.names})
        base = self.base.weights(progress)
        factors = zip(self.names, self.factors.clone(), strict=True)  # the buffer may change before the backward pass
        return weighted_sum(parts, {name: factor * base[name] for name, factor in factors})

    @torch.no_grad()
    def _see(self, parts: Mapping[str, Tensor]) -> None:
        if int(self.steps) == self.window:
            newer = self.sums / self.window
            self.factors.copy_(dynamic_weights(newer, self.older, self.temperature))
            self.older.copy_(newer)
            self.sums.zero_()
            self.steps.zero_()
        self.sums += mean_over_ranks(parts, self.sums)
        self.steps += 1
