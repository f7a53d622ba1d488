"""Summaries of ranks: recall at k, median and mean."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["mean_rank", "median_rank", "recall_at_k"]


def recall_at_k(ranks: Int64[Tensor, "N"], k: int) -> Float[Tensor, ""]:
    """Return the share of queries whose best positive is among the first ``k`` (Recall@K, R@K)."""
    return (ranks <= k).sum() / len(ranks)


def median_rank(ranks: Int64[Tensor, "N"]) -> Float[Tensor, ""]:
    """Return the median rank, 1 the best; of an even number of queries the mean of the middle two."""
    ordered = ranks.sort().values
    return (ordered[(len(ranks) - 1) // 2] + ordered[len(ranks) // 2]).float() / 2


def mean_rank(ranks: Int64[Tensor, "N"]) -> Float[Tensor, ""]:
    """Return the mean rank, 1 the best."""
    return ranks.sum() / len(ranks)
