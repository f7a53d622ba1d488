"""Each channel of the student's map correlates with the teacher's: PKD."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import all_reduce_sum, gather, world_size
from kdmm.losses.adapters import Adapter, Fit
from kdmm.losses.features.places import channels_last, compared
from kdmm.losses.precision import full_precision
from kdmm.losses.term import Term, named
from kdmm.outputs import Batch, Outputs, read

__all__ = ["PKD", "channel_correlation_loss"]

STILL = 1e-12
"""A variance below this part of the mean square is rounding error in float32: the channel is constant."""


@full_precision
def channel_correlation_loss(student: Float[Tensor, "P C"], teacher: Float[Tensor, "P C"]) -> Float[Tensor, ""]:
    """One less Pearson's correlation of corresponding channels, over the vectors of all ranks, the mean over channels.

    ::

        1/C sum_c (1 - r_c),      r_c = cov(s_c, t_c) / (std(s_c) std(t_c))

    which is half the mean squared difference of the channels scaled to mean 0 and variance 1.

    Args:
        student: one vector a place, of all samples.
        teacher: of the same places; it gets no gradient.

    Returns:
        The loss of all ranks, the same on each; 0 where no rank has a place. A channel that is constant in either model
        has no correlation: it counts as 1, without gradient.
    """
    count = all_reduce_sum(torch.tensor(len(student), device=student.device))
    ours, theirs = student - _total(student) / count.clamp(min=1), teacher.detach()
    theirs = theirs - all_reduce_sum(theirs.sum(0)) / count.clamp(min=1)
    products = _total(torch.cat([ours * theirs, ours.square()], dim=1))
    covariance, variance = products.chunk(2)
    target_variance = all_reduce_sum(theirs.square().sum(0))
    moves = _moves(variance.detach(), student) & _moves(target_variance, teacher)
    scale = torch.where(moves, variance, 1.0).sqrt() * torch.where(moves, target_variance, 1.0).sqrt()
    correlation = torch.where(moves, covariance, 0.0) / scale
    return torch.where(count > 0, 1 - correlation, 0 * correlation).mean()


def _total(x: Float[Tensor, "P C"]) -> Float[Tensor, "C"]:
    """Return the sum over the rows of all ranks, with a gradient to all of them."""
    return gather(x.sum(0, keepdim=True), counts=(1,) * world_size()).sum(0)


def _moves(squares: Float[Tensor, "C"], x: Float[Tensor, "P C"]) -> Tensor:
    """Return which channels vary, from their squares about the mean."""
    return squares > STILL * all_reduce_sum(x.square().sum(0))


class PKD(Term):
    """Mean over channels of one less Pearson's correlation (Cao et al. 2022, arXiv:2207.02039).

    See `channel_correlation_loss`; a channel is taken over all places of all samples of all ranks, so its scale and
    offset do not matter, and a batch has one value, not one a sample. Name one level of a pyramid a term. We differ in
    the batch of all ranks (there of one), in dividing by the variance itself (there by the deviation and 1e-6), and in
    the adapter where channels or sizes differ.

    Args:
        student: what the student's map is called; tokens and vectors do too.
        teacher: what the teacher's is called.
        adapter: maps the student's activation to the teacher's shape; None: `Fit`.
    """

    paper = "Cao et al. 2022, arXiv:2207.02039"

    def __init__(self, student: str, teacher: str, adapter: Adapter | None = None) -> None:
        super().__init__()
        self.layers = ((student, teacher),)
        self.adapter = Fit() if adapter is None else adapter

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapter."""
        ours, theirs = self.layers[0]
        self.adapter.build(read(student, ours, "student"), read(teacher, theirs, "teacher"))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss over the places that count."""
        ((ours, theirs, places),), _ = compared(student, teacher, self.layers)
        ours = self.adapter(ours, theirs)
        return channel_correlation_loss(channels_last(ours)[places], channels_last(theirs)[places])

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))
