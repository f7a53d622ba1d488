"""How the terms of an objective become one number."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.distributed import all_reduce_sum, world_size
from kdmm.errors import InputError
from kdmm.outputs import Outputs
from kdmm.targets import Described

__all__ = ["Weighting", "mean_over_ranks", "weighted_sum"]


class Weighting(Described, nn.Module, ABC):
    """A strategy of weighting terms. What it learns and keeps is its own: parameters and buffers, in the checkpoint.

    A strategy that changes with what it sees does so only while training (`is_learning`): validation computes the
    objective too. In several processes every rank comes to the same weights. A step is one call while training: of
    accumulated gradients each batch is a step.
    """

    paper: ClassVar[str] = ""
    """Where the strategy was published, such as ``Chen et al. 2018, arXiv:1711.02257``."""

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

    def watched(self, outputs: Outputs) -> Outputs:
        """Return the student's outputs as the terms should read them; `forward` gets the same."""
        return outputs

    @property
    def is_learning(self) -> bool:
        """Whether what is seen now may change the weights: in training mode, with gradients."""
        return self.training and torch.is_grad_enabled()

    @abstractmethod
    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights in force at ``progress``, for the log: after a step, those of that step."""

    @abstractmethod
    def forward(
        self, parts: Mapping[str, Float[Tensor, ""]], progress: float, outputs: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Return the total of the terms' values.

        Args:
            parts: each term's value, this rank's share of it.
            progress: how much of training is done, in [0, 1].
            outputs: what the student gives, as `watched` returned it, for strategies that look at the gradients
                arriving there.
        """


def weighted_sum(
    parts: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float | Float[Tensor, ""]]
) -> Float[Tensor, ""]:
    """Return the sum of the terms' values, each times its weight."""
    first, *others = (weights[name] * part for name, part in parts.items())
    return sum(others, start=first)


def mean_over_ranks(shares: Mapping[str, Float[Tensor, ""]], like: Float[Tensor, "K"]) -> Float[Tensor, "K"]:
    """Return the terms' values from all ranks' shares, without gradient, in the type of ``like``."""
    return all_reduce_sum(torch.stack([share.detach().to(like) for share in shares.values()])) / world_size()
