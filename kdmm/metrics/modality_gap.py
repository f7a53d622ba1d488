"""Whether two modalities lie in different parts of their shared space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from kdmm.errors import InputError
from kdmm.metrics.embeddings import EmbeddingMetric, Items, Source
from kdmm.metrics.functional import centroid_distance, linear_separability, pair_cosines
from kdmm.metrics.relation import shared_labels

__all__ = ["ModalityGap"]


class ModalityGap(EmbeddingMetric):
    """The modality gap (Liang et al. 2022, https://arxiv.org/abs/2203.02053) between two sets of embeddings.

    Gives, for ``pair=["image", "text"]``:

    - ``image_text_gap/centroid_distance``: the Euclidean distance of the two mean embeddings, from 0 to 2.
    - ``image_text_gap/separability``: how often a linear discriminant knows the modality of an embedding of a sample
      that it has not seen: 0.5 is chance, 1 two separate regions (:func:`kdmm.metrics.functional.linear_separability`).
    - ``image_text_gap/positive_cosine`` and ``image_text_gap/negative_cosine``: the mean over all pairs that belong
      together, and over all others; what belongs together is said in :class:`kdmm.metrics.Retrieval`.

    The teacher's own, ``pair=["teacher.image", "teacher.text"]``, have the same names under ``teacher/``; if the sides
    differ, names are ``student_image_teacher_text_gap/...``. A gap is not good or bad by itself: these say what a
    shift, a temperature or a loss does to it, and `Retrieval` what that is worth.

    Args:
        pair: two sources of embeddings in one space: a modality of the student, or ``teacher.<modality>``.
    """

    higher_is_better = None

    def __init__(self, pair: Sequence[str] = ("image", "text")) -> None:
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise InputError(f"ModalityGap.pair: {pair!r} given; give two different sources, such as [image, text].")
        super().__init__(Source.parse(name, "ModalityGap.pair") for name in pair)

    @property
    def prefix(self) -> str:
        """What stands before the names of the values."""
        first, second = self.sources
        if first.role != second.role:
            return f"{first.state}_{second.state}_gap"
        gap = f"{first.modality}_{second.modality}_gap"
        return gap if first.role == "student" else f"teacher/{gap}"

    def compute(self) -> dict[str, Tensor]:
        """Return the values of all samples added.

        Raises:
            InputError: no sample has both modalities, the two embeddings differ in width, or there is nothing to
                compare with: one sample, or equal captions alone.
        """
        collected = self.collected()
        first, second = (collected[source] for source in self.sources)
        if first.embeddings.shape[1] != second.embeddings.shape[1]:
            names = [f"{source.role}.{source.modality}" for source in self.sources]
            raise InputError(
                f"ModalityGap.pair: {names[0]} is {first.embeddings.shape[1]} wide and {names[1]} "
                f"{second.embeddings.shape[1]}: they do not share a space, or leave this metric out."
            )
        halves = _half(first), _half(second)
        positive, negative = pair_cosines(first.embeddings, second.embeddings, *shared_labels(first, second))
        if halves[0].all() or negative.isnan():
            raise InputError(
                "ModalityGap has seen no two samples that differ, so that there are no negatives. Evaluate on a split "
                "with more samples, or leave this metric out."
            )
        return {
            f"{self.prefix}/centroid_distance": centroid_distance(first.embeddings, second.embeddings),
            f"{self.prefix}/separability": linear_separability(first.embeddings, second.embeddings, *halves),
            f"{self.prefix}/positive_cosine": positive,
            f"{self.prefix}/negative_cosine": negative,
        }


def _half(items: Items) -> Bool[Tensor, "N"]:
    """Return which items are of every second sample, in the order of the samples' hashes."""
    place: Tensor = torch.unique(items.sample, return_inverse=True)[1]
    return place % 2 == 0
