"""How the terms of an objective become one number."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError

__all__ = ["Weighting", "weighted_sum"]


class Weighting(nn.Module, ABC):
    """A strategy of weighting terms. What it learns and keeps is its own: parameters and buffers, in the checkpoint.

    A strategy that changes with what it sees does so only while training (``self.training`` and gradients enabled):
    validation computes the objective too. In several processes every rank comes to the same weights.
    """

    def check(self, names: Collection[str]) -> None:
        """Learn the terms' names, once, before anything else.

        Raises:
            InputError: the weighting does not fit terms of these names.
        """
        if len(names) < 2:
            raise InputError(
                f"{type(self).__name__} balances terms, and there is one alone: {next(iter(names))}. Leave it out."
            )
        self.make(tuple(names))

    def make(self, names: tuple[str, ...]) -> None:
        """Make the parameters and buffers, one entry a term in this order."""

    @abstractmethod
    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights in force at ``progress``, for the log."""

    @abstractmethod
    def forward(
        self, parts: Mapping[str, Float[Tensor, ""]], progress: float, outputs: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Return the total of the terms' values.

        Args:
            parts: each term's value, this rank's share of it.
            progress: how much of training is done, in [0, 1].
            outputs: what the student gives, for strategies that look at the gradients arriving there.
        """


def weighted_sum(parts: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """Return the sum of the terms' values, each times its weight."""
    first, *others = (weights[name] * part for name, part in parts.items())
    return sum(others, start=first)
