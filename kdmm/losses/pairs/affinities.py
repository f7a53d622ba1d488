"""Scaled cosines of the samples here with the samples of all ranks: what contrastive losses are computed from."""

from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import gather, world_size

__all__ = ["two_way_affinities"]


def two_way_affinities(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "C D"],
    scale: Float[Tensor, ""] | float,
    first_counts: tuple[int, ...],
    second_counts: tuple[int, ...],
    grad: bool = True,
) -> tuple[Float[Tensor, "B M"], Float[Tensor, "C N"]]:
    """Return the affinities of ``first`` here with ``second`` of all ranks, and of ``second`` with ``first``.

    Both hold one sample a row, so a softmax over a row is right in both. In one process they are one matrix and its
    transpose, without a copy.

    Args:
        first: embeddings of one modality.
        second: embeddings of the other.
        scale: multiplies the cosines.
        first_counts: ``row_counts(first)``; they add up to N.
        second_counts: ``row_counts(second)``; they add up to M.
        grad: let the gradient reach other ranks' rows: true for a student, false for a teacher.
    """
    if world_size() == 1:
        affinities = (scale * first) @ second.T
        return affinities, affinities.T
    forth = (scale * first) @ gather(second, grad, second_counts).T
    return forth, (scale * second) @ gather(first, grad, first_counts).T
