"""Whether student and teacher find the same things, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from kdmm.errors import InputError
from kdmm.metrics.embeddings import EmbeddingMetric, Source
from kdmm.metrics.functional import top_k_overlap
from kdmm.metrics.samples import check_depths, first_rows

__all__ = ["Agreement"]


class Agreement(EmbeddingMetric):
    """``agreement@k``: the share of the teacher's first k results that the student has among its own first k.

    Every picture searches all captions and every caption all pictures, each model in its own space; the mean over
    queries of ``|student's first k ∩ teacher's first k| / k`` is taken in each direction, and then of both (see
    :func:`kdmm.metrics.functional.top_k_overlap` for sources and ties). Equal captions are one item, as a model cannot
    tell them apart. Two random rankings agree at k / N.

    Args:
        pair: two modalities that both models embed.
        k: depths.
    """

    higher_is_better = True

    def __init__(self, pair: Sequence[str] = ("image", "text"), k: Sequence[int] = (1, 5)) -> None:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise InputError(
                f"Agreement.pair: {list(pair)} given; give two different modalities, such as [image, text]."
            )
        if any("." in name for name in pair):
            raise InputError(f"Agreement.pair: {list(pair)} given; both models are read, so name modalities only.")
        super().__init__(
            Source.parse(f"{role}.{name}", "Agreement.pair") for role in ("student", "teacher") for name in pair
        )
        self.k = check_depths(k, "Agreement")

    def compute(self) -> dict[str, Tensor]:
        """Return ``agreement@k`` for each k.

        Raises:
            InputError: no sample has both modalities in both models.
        """
        embeddings = []
        for items in self.collected().values():
            distinct = items.at(first_rows(items.caption[:, None])) if items.is_text else items
            embeddings.append(distinct.embeddings)
        student_a, student_b, teacher_a, teacher_b = embeddings
        forward = top_k_overlap(student_a, student_b, teacher_a, teacher_b, self.k)
        backward = top_k_overlap(student_b, student_a, teacher_b, teacher_a, self.k)
        return {f"agreement@{k}": (forward[k] + backward[k]) / 2 for k in self.k}
