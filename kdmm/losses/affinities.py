"""Scaled cosines of the samples here with the samples of all ranks: what contrastive losses are computed from."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import gather, world_size

__all__ = ["one_way_affinities", "two_way_affinities", "zero_absent"]


def zero_absent(x: Float[Tensor, "B D"], valid: Bool[Tensor, "B"]) -> Float[Tensor, "B D"]:
    """Replace the rows of absent samples, which may hold anything, by zeros."""
    return torch.where(valid[:, None], x, 0.0)


def one_way_affinities(
    rows: Float[Tensor, "B D"],
    columns: Float[Tensor, "N D"],
    scale: Float[Tensor, ""] | float,
    valid_columns: Bool[Tensor, "N"],
) -> Float[Tensor, "B N"]:
    """Return ``scale * rows @ columns.T``, with the columns of absent samples at a value that no softmax sees.

    The masked value is finite, so a softmax over masked columns alone is no NaN; the caller masks its result.
    """
    affinities = (scale * rows) @ columns.T
    affinities += _absent(valid_columns, affinities)  # in place: the matrix is the memory of these losses
    return affinities


def two_way_affinities(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "B D"],
    scale: Float[Tensor, ""] | float,
    valid_first: Bool[Tensor, "N"],
    valid_second: Bool[Tensor, "N"],
    counts: tuple[int, ...],
    grad: bool = True,
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Return the affinities of ``first`` here with ``second`` of all ranks, and of ``second`` with ``first``.

    Both hold one sample a row, so a softmax over a row is right in both. In one process they are one matrix and its
    transpose, without a copy.

    Args:
        first: embeddings of one modality.
        second: embeddings of the other.
        scale: multiplies the cosines.
        valid_first: which samples have the first modality, on all ranks.
        valid_second: which samples have the second, on all ranks.
        counts: ``row_counts(first)``.
        grad: let the gradient reach other ranks' rows: true for a student, false for a teacher.
    """
    if world_size() == 1:
        affinities = one_way_affinities(first, second, scale, valid_second)
        affinities += _absent(valid_first, affinities)[:, None]  # masks the transpose's columns
        return affinities, affinities.T
    forth = one_way_affinities(first, gather(second, grad, counts), scale, valid_second)
    return forth, one_way_affinities(second, gather(first, grad, counts), scale, valid_first)


def _absent(valid: Bool[Tensor, "N"], like: Tensor) -> Float[Tensor, "N"]:
    """Return 0 for valid and a quarter of the lowest finite number for absent: two of them and a logit stay finite."""
    return like.new_zeros(len(valid)).masked_fill(~valid, torch.finfo(like.dtype).min / 4)
