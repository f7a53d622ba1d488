"""What a row's positives add to its loss, without a matrix that says which they are."""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdmm.distributed import gather, rows_here

__all__ = ["every_label", "positive_means"]


def every_label(labels: Int[Tensor, "B"] | None, counts: tuple[int, ...], device: torch.device) -> Int[Tensor, "N"]:
    """Return the labels of the samples of all ranks; without labels a different one each."""
    return torch.arange(sum(counts), device=device) if labels is None else gather(labels, False, counts)


def positive_means(
    vectors: Float[Tensor, "N D"], labels: Int[Tensor, "B"] | None, counts: tuple[int, ...]
) -> Float[Tensor, "B D"]:
    """Return the mean vector of each row's positives among the samples of all ranks.

    The mean of a row's logits at its positives is its inner product with this mean.
    """
    here = rows_here(counts)
    if labels is None:
        return vectors[here]
    _, groups, sizes = cast(
        tuple[Tensor, Tensor, Tensor],
        torch.unique(gather(labels, False, counts), return_inverse=True, return_counts=True),
    )
    sums = vectors.new_zeros(len(sizes), vectors.shape[1]).index_add(0, groups, vectors)
    means: Tensor = sums / sizes[:, None]
    return means[groups[here]]
