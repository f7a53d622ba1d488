"""The modalities' mean embeddings are drawn together."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import all_reduce_sum, gather, world_size
from kdmm.losses.precision import full_precision
from kdmm.losses.term import Term, checked_pair, named_pair
from kdmm.outputs import Batch, Outputs, present, read

__all__ = ["GapLoss", "squared_gap"]


@full_precision
def squared_gap(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "B D"],
    valid_first: Bool[Tensor, "B"],
    valid_second: Bool[Tensor, "B"],
) -> Float[Tensor, ""]:
    """Squared Euclidean distance of the modalities' mean embeddings, over the samples of all ranks.

    With the mean over the rows i that have the first modality, and over the rows j that have the second::

        loss = | mean_i first_i - mean_j second_j |²

    which is the square of the modality gap as Liang et al. 2022, arXiv:2203.02053, measure it, on one batch. Means of n
    samples vary: to the true square each modality adds its variance (the mean squared distance from its centroid, at
    most 1 for unit vectors) over n, less twice their covariance over n where the samples are pairs. So small batches
    also draw pairs together a little.

    Args:
        first: embeddings of one modality.
        second: embeddings of the other.
        valid_first: which samples have the first modality.
        valid_second: which samples have the second.

    Returns:
        The loss, the same on every rank; 0 where no sample has one of the two.
    """
    sums, counts = [], []
    for rows, valid in ((first, valid_first), (second, valid_second)):
        here = rows[valid].sum(0, keepdim=True)
        sums.append(gather(here, counts=(1,) * world_size()).sum(0))
        counts.append(all_reduce_sum(valid.sum()))
    means = [total / count.clamp(min=1) for total, count in zip(sums, counts, strict=True)]
    return torch.where((counts[0] > 0) & (counts[1] > 0), (means[0] - means[1]).square().sum(), 0.0)


class GapLoss(Term):
    """`squared_gap` of the student's embeddings: closes the modality gap. The teacher is not read.

    A contrastive loss starts with a gap and, at a low temperature, keeps it (Liang et al. 2022). A student that has one
    which its teacher has not, or has another one, cannot be exchanged for it tower by tower. Beside a contrastive loss
    or a distillation; alone its best is that all embeddings are equal. Whether a smaller gap retrieves better is to be
    measured: `kdmm.metrics.ModalityGap` and `kdmm.metrics.Retrieval`.

    Args:
        pair: the two modalities, such as ``[image, text]``. All samples that have one count for it, also those without
            the other.
    """

    paper = "Liang et al. 2022, arXiv:2203.02053 (the gap)"

    def __init__(self, pair: Sequence[str]) -> None:
        super().__init__()
        self.first, self.second = checked_pair("GapLoss", pair)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the squared gap."""
        first, second = read(student, self.first, "student"), read(student, self.second, "student")
        return squared_gap(first, second, present(student, self.first), present(student, self.second))

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pair; nothing of the teacher."""
        return named_pair(arguments), frozenset()
