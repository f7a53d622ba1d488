"""How far two modalities are apart in their shared space."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kdmm.metrics.functional.ranks import check_finite

__all__ = ["centroid_distance", "pair_cosines"]


@torch.no_grad()
def centroid_distance(first: Float[Tensor, "N D"], second: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
    """Return the modality gap: the Euclidean distance of the two mean embeddings.

    Liang et al. 2022, https://arxiv.org/abs/2203.02053. Of unit vectors it is at most 2.

    Args:
        first: embeddings of one modality.
        second: embeddings of the other.

    Raises:
        ValueError: an embedding is NaN or infinite.
    """
    check_finite(first, "first modality")
    check_finite(second, "second modality")
    gap: Tensor = first.double().mean(0) - second.double().mean(0)
    return gap.square().sum().sqrt().float()


@torch.no_grad()
def pair_cosines(
    first: Float[Tensor, "N D"],
    second: Float[Tensor, "M D"],
    first_labels: tuple[Int64[Tensor, "P"], Int64[Tensor, "P"]],
    second_labels: tuple[Int64[Tensor, "Q"], Int64[Tensor, "Q"]],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean cosine of the pairs that share a label, and of those that do not; NaN where there are none.

    Time and memory are linear in N + M: with F_l and S_l the sums of the embeddings that have label l, the positives'
    cosines add up to ``sum_l <F_l, S_l>``, and all cosines to ``<sum first, sum second>``.

    Args:
        first: unit vectors of one modality.
        second: unit vectors of the other.
        first_labels: (item, label) pairs of ``first``, as two lists.
        second_labels: the same of ``second``. Two items share one label at most.
    """
    (of_first, first_label), (of_second, second_label) = first_labels, second_labels
    distinct, dense = torch.unique(torch.cat([first_label, second_label]), return_inverse=True)
    in_first, in_second = dense[: len(first_label)], dense[len(first_label) :]
    sums = [
        torch.zeros(len(distinct), x.shape[1], dtype=torch.float64, device=x.device).index_add(0, label, x.double()[of])
        for x, of, label in ((first, of_first, in_first), (second, of_second, in_second))
    ]
    positive = (sums[0] * sums[1]).sum()
    positives = (in_first.bincount(minlength=len(distinct)) * in_second.bincount(minlength=len(distinct))).sum()
    negative = first.double().sum(0) @ second.double().sum(0) - positive
    return _mean(positive, positives), _mean(negative, len(first) * len(second) - positives)


def _mean(total: Float[Tensor, ""], count: Int64[Tensor, ""]) -> Float[Tensor, ""]:
    return torch.where(count > 0, total / count, torch.nan).float()  # a total of nothing may be off 0 by rounding
