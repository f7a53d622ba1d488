"""Finding a picture's caption among all captions, and a caption's picture among all pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from kdmm.errors import InputError
from kdmm.metrics.embeddings import EmbeddingMetric, Items, Source
from kdmm.metrics.functional import Positives, mean_rank, median_rank, ranks, recall_at_k
from kdmm.metrics.samples import check_depths

__all__ = ["Retrieval"]


class Retrieval(EmbeddingMetric):
    """Recall@k, median and mean rank in both directions between two sets of embeddings.

    Gives, for ``pair=["image", "text"]``: ``image_to_text/recall@1``, ..., ``image_to_text/median_rank``,
    ``image_to_text/mean_rank``, ``image_to_text/queries`` (how many there were), the same under ``text_to_image/``, and
    ``recall@1``, ...: the mean of both directions. The teacher's own, ``pair=["teacher.image", "teacher.text"]``, have
    the same names under ``teacher/``. If the sides differ, as in ``pair=["student.image", "teacher.text"]`` - the
    student's image tower searches the teacher's text index - names are ``student_image_to_teacher_text/recall@1`` and
    so on, and the mean is left out.

    What counts as right: a picture (known by its ``id``) and a text are positives of each other if the picture has a
    caption with the text's ``caption_id``. So all captions of a picture are right, and so are all pictures with equal
    captions. The best positive's rank is taken, and a negative with the same score ranks before it (see
    :func:`kdmm.metrics.functional.ranks`). Every caption is a query: five a picture in COCO and Flickr30k (Karpathy
    and Fei-Fei 2015, https://arxiv.org/abs/1412.2306). Only samples with both modalities count; each counts once. The
    gallery is the whole evaluated split.

    Args:
        pair: two sources of embeddings in one space: a modality of the student, or ``teacher.<modality>``.
        k: depths of the recalls.
    """

    higher_is_better = None

    def __init__(self, pair: Sequence[str] = ("image", "text"), k: Sequence[int] = (1, 5, 10)) -> None:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise InputError(f"Retrieval.pair: {list(pair)} given; give two different sources, such as [image, text].")
        super().__init__(Source.parse(name, "Retrieval.pair") for name in pair)
        self.k = check_depths(k, "Retrieval")

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics of all samples added.

        Raises:
            InputError: no sample has both modalities, or the two embeddings differ in width.
        """
        collected = self.collected()
        first, second = self.sources
        forward = self._summary(first, second, collected)
        backward = self._summary(second, first, collected)
        if first.role != second.role:
            return _named(first.state, second.state, forward) | _named(second.state, first.state, backward)
        values = _named(first.modality, second.modality, forward) | _named(second.modality, first.modality, backward)
        values |= {f"recall@{k}": (forward[f"recall@{k}"] + backward[f"recall@{k}"]) / 2 for k in self.k}
        return values if first.role == "student" else {f"teacher/{name}": value for name, value in values.items()}

    def _summary(self, query: Source, gallery: Source, collected: Mapping[Source, Items]) -> dict[str, Tensor]:
        queries, items = collected[query], collected[gallery]
        if queries.embeddings.shape[1] != items.embeddings.shape[1]:
            raise InputError(
                f"Retrieval.pair: {query.role}.{query.modality} is {queries.embeddings.shape[1]} wide and "
                f"{gallery.role}.{gallery.modality} {items.embeddings.shape[1]}: they do not share a space. Build the "
                "student with the teacher's `embed_dim`, or leave this metric out."
            )
        texts = next((each for each in (queries, items) if each.is_text), None)
        positives = Positives(*_labels(queries, texts), *_labels(items, texts), len(queries.sample))
        return _summarize(ranks(queries.embeddings, items.embeddings, positives), self.k)


def _labels(items: Items, texts: Items | None) -> tuple[Int64[Tensor, "P"], Int64[Tensor, "P"]]:
    """Return pairs of an item and a label: its caption, or its sample's captions; without texts its sample."""
    if items.is_text or texts is None:
        rows = torch.arange(len(items.sample), device=items.sample.device)
        return rows, items.caption if items.is_text else items.sample
    return torch.searchsorted(items.sample, texts.sample), texts.caption  # samples are in order


def _summarize(found: Int64[Tensor, "N"], depths: Sequence[int]) -> dict[str, Tensor]:
    return {
        **{f"recall@{k}": recall_at_k(found, k) for k in depths},
        "median_rank": median_rank(found),
        "mean_rank": mean_rank(found),
        "queries": torch.tensor(float(len(found)), device=found.device),
    }


def _named(query: str, gallery: str, summary: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{query}_to_{gallery}/{name}": value for name, value in summary.items()}
