"""Weights that are fixed or follow a schedule."""

from collections.abc import Collection, Mapping

from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.losses.weighting.schedules import Schedule, as_schedule
from kdmm.losses.weighting.weighting import Weighting, weighted_sum

__all__ = ["Scheduled"]


class Scheduled(Weighting):
    """The weighted sum, with weights that are fixed or follow a schedule.

    A term of weight 0 is computed and logged all the same, without influence: its parameters get gradients of 0, which
    DDP needs, and turning a term on and off is a matter of one number.

    Args:
        weights: by term, a number (0 or more) or a `Schedule`.
    """

    def __init__(self, weights: Mapping[str, float | int | Schedule]) -> None:
        super().__init__()
        self.schedules = {name: as_schedule(weight) for name, weight in weights.items()}

    @classmethod
    def of(cls, weights: Mapping[str, float | int | Schedule] | None, names: Collection[str]) -> "Scheduled":
        """Return the weights of terms of these names, 1 each where none are given.

        Raises:
            InputError: the names differ.
        """
        scheduled = cls(dict.fromkeys(names, 1.0) if weights is None else weights)
        scheduled.check(names)
        return scheduled

    def check(self, names: Collection[str]) -> None:
        """Raise `InputError` unless each term has a weight and each weight a term."""
        terms, weights = set(names), set(self.schedules)
        if terms == weights:
            return
        hints = "".join(nearest(name, terms - weights) for name in sorted(weights - terms))
        raise InputError(
            f"Objective: terms and weights have different names. Terms: {', '.join(names)}. "
            f"Weights: {', '.join(self.schedules) or 'none'}. Give each term one weight.{hints}"
        )

    def weights(self, progress: float) -> dict[str, float]:
        """Return each schedule's value at ``progress``."""
        return {name: schedule(progress) for name, schedule in self.schedules.items()}

    def forward(
        self, parts: Mapping[str, Float[Tensor, ""]], progress: float, outputs: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Return the weighted sum."""
        return weighted_sum(parts, self.weights(progress))
