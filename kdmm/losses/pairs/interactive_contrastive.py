"""The student's embeddings must find their partners among the teacher's."""

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdmm.distributed import gather, global_mean, row_counts
from kdmm.losses.adapters import Adapter, Width
from kdmm.losses.pairs.contrastive import Duplicates, caption_labels, negative_log_likelihood, pairs_alone, positives
from kdmm.losses.pairs.tiled import checked_tile, positive_means, tiled_logsumexp
from kdmm.losses.precision import full_precision
from kdmm.losses.term import (
    Term,
    all_true,
    both_present,
    checked_choice,
    checked_pair,
    checked_temperature,
    named_pair,
    scale_of,
)
from kdmm.outputs import Batch, Outputs, read

__all__ = ["InteractiveContrastive", "anchored_contrast"]


@full_precision
def anchored_contrast(
    student: Float[Tensor, "B D"],
    teacher: Float[Tensor, "B D"],
    scale: Float[Tensor, ""] | float,
    valid: Bool[Tensor, "B"],
    labels: Int[Tensor, "B"] | None = None,
    tile: int | None = None,
) -> Float[Tensor, ""]:
    """InfoNCE in one direction: each student embedding finds its partner among the teacher's, in nats.

    With z_ij = scale * <student_i, teacher_j> and P(i) the samples that share i's label (i among them)::

        loss = mean_i  -1/|P(i)| sum_{j in P(i)} log softmax_j(z_i.)

    Args:
        student: embeddings of one modality, scaled to unit length here (a projection may have changed it).
        teacher: the teacher's unit vectors of the other modality, of the same samples; they get no gradient.
        scale: multiplies the cosines (exponentiated).
        valid: which rows are pairs; the others are neither positives nor negatives.
        labels: equal for samples whose pairs are interchangeable. None: each sample is its only positive.
        tile: rows and columns of the matrix that are held at a time. None: all.

    Returns:
        This rank's share of the loss; 0 where no rank has a pair.
    """
    student, teacher, labels = pairs_alone(student, teacher, labels, valid)
    counts = row_counts(student)
    student, teachers = F.normalize(student, dim=1), gather(teacher, False, counts)
    if tile is None:
        likelihood = negative_log_likelihood((scale * student) @ teachers.T, positives(labels, counts, student.device))
    else:
        likelihood, _ = tiled_logsumexp(student, teachers, scale, tile)
        likelihood = likelihood - scale * (student * positive_means(teachers, labels, counts)).sum(1)
    return global_mean(likelihood, all_true(likelihood))


class InteractiveContrastive(Term):
    """Mean of `anchored_contrast` of the student's first modality with the teacher's second, and the other way round.

    Interactive contrastive learning (ICL) of CLIP-KD (Yang et al. 2024, arXiv:2307.12732): the student's image must
    find its text among the teacher's texts, and its text the teacher's image, which keeps the student in the teacher's
    space. We differ in the scale: the student's ``logit_scale`` or a set temperature (in their code a parameter
    of the loss that starts at log(1/0.07) and is not exponentiated), and in duplicate captions, which are positives.

    Args:
        pair: the two modalities, such as ``[image, text]``.
        temperature: divides the cosines. None: the student's own learned ``logit_scale``.
        duplicates: as in `Contrastive`.
        tile: as in `Contrastive`.
    """

    paper = "Yang et al. 2024, arXiv:2307.12732"

    def __init__(
        self,
        pair: Sequence[str],
        temperature: float | int | None = None,
        duplicates: Duplicates = "positive",
        tile: int | None = None,
    ) -> None:
        super().__init__()
        self.pair = checked_pair("InteractiveContrastive", pair)
        self.temperature = checked_temperature("InteractiveContrastive: temperature", temperature)
        checked_choice("InteractiveContrastive: duplicates", duplicates, get_args(Duplicates))
        self.duplicates: Duplicates = duplicates
        self.tile = checked_tile("InteractiveContrastive: tile", tile)
        self.adapters = nn.ModuleDict({name: Width() for name in self.pair})

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapters."""
        for ours, theirs in (self.pair, self.pair[::-1]):
            self.adapter(ours).build(read(student, ours, "student"), read(teacher, theirs, "teacher"))

    def adapter(self, modality: str) -> Adapter:
        """Return what maps one of the student's modalities to the teacher's width."""
        return cast(Adapter, self.adapters[modality])

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the mean of the two directions; each counts the samples that have what it compares."""
        first, second = self.pair
        forth = self._direction(student, first, teacher, second, batch)
        back = self._direction(student, second, teacher, first, batch)
        return (forth + back) / 2

    def _direction(self, student: Outputs, ours: str, teacher: Outputs, theirs: str, batch: Batch) -> Float[Tensor, ""]:
        columns = read(teacher, theirs, "teacher")
        rows = self.adapter(ours)(read(student, ours, "student"), columns)
        return anchored_contrast(
            rows,
            columns,
            scale_of(student, self.temperature, "student", self.pair),
            both_present(student, ours, teacher, theirs),
            caption_labels(batch, self.duplicates),
            self.tile,
        )

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pair of both models, and the student's scale unless a temperature is set."""
        pair = named_pair(arguments)
        return pair | {"logit_scale"} if arguments.get("temperature") is None else pair, pair
