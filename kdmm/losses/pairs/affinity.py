"""The student's in-batch affinities follow the teacher's: soft contrastive distillation."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import global_mean, row_counts
from kdmm.losses.pairs.affinities import two_way_affinities
from kdmm.losses.pairs.tiled import checked_tile, tiled_divergences
from kdmm.losses.precision import full_precision
from kdmm.losses.term import (
    Term,
    both_present,
    checked_choice,
    checked_pair,
    checked_temperature,
    named_pair,
    scale_of,
)
from kdmm.outputs import Batch, Outputs, read

__all__ = ["Affinity", "affinity_divergence"]

Over = Literal["present", "pairs"]


@full_precision
def affinity_divergence(
    student_first: Float[Tensor, "B D"],
    student_second: Float[Tensor, "B D"],
    teacher_first: Float[Tensor, "B E"],
    teacher_second: Float[Tensor, "B E"],
    student_scale: Float[Tensor, ""] | float,
    teacher_scale: Float[Tensor, ""] | float,
    valid_first: Bool[Tensor, "B"],
    valid_second: Bool[Tensor, "B"],
    tile: int | None = None,
) -> Float[Tensor, ""]:
    """KL(teacher || student) between in-batch affinities, in both directions, in nats.

    With s_ij = student_scale * <student_first_i, student_second_j> over the rows i that have the first modality and the
    columns j that have the second, on all ranks, and t the same of the teacher::

        loss = 1/2 (forth + back)      forth = mean_i  KL(softmax_j(t_i.) || softmax_j(s_i.))

    and ``back`` the same on s and t transposed: its target is a softmax over the teacher's columns, not the transpose
    of the row-wise target. Each mean is over its own valid rows, so images and texts may differ in number.

    Args:
        student_first: unit vectors of one modality.
        student_second: unit vectors of the other.
        teacher_first: the teacher's, of the same samples.
        teacher_second: the teacher's, of the same samples.
        student_scale: multiplies the student's cosines (exponentiated; 1 / temperature).
        teacher_scale: multiplies the teacher's.
        valid_first: which samples have the first modality.
        valid_second: which samples have the second.
        tile: rows and columns of the matrices that are held at a time. None: all.

    Returns:
        This rank's share of the loss; 0 where no rank has both a row and a column. The teacher gets no gradient.
    """
    # Only rows that are there: of a batch with many unpaired texts, most of the B x B matrix would be masked.
    student_first, teacher_first = student_first[valid_first], teacher_first[valid_first].detach()
    student_second, teacher_second = student_second[valid_second], teacher_second[valid_second].detach()
    teacher_scale = teacher_scale.detach() if isinstance(teacher_scale, Tensor) else teacher_scale
    counts = row_counts(student_first), row_counts(student_second)
    if tile is None:
        student = two_way_affinities(student_first, student_second, student_scale, *counts)
        teacher = two_way_affinities(teacher_first, teacher_second, teacher_scale, *counts, grad=False)
        forth, back = (row_divergence(ours, theirs) for ours, theirs in zip(student, teacher, strict=True))
    else:
        ours, theirs = (student_first, student_second), (teacher_first, teacher_second)
        forth, back = tiled_divergences(ours, theirs, (student_scale, teacher_scale), counts, tile)
    return (_mean_of_rows(forth, sum(counts[1])) + _mean_of_rows(back, sum(counts[0]))) / 2


def _mean_of_rows(values: Float[Tensor, "B"], columns: int) -> Float[Tensor, ""]:
    """Return this rank's share of the mean; 0 where the rows had nothing to be compared with."""
    return global_mean(values, torch.full(values.shape, columns > 0, device=values.device))


def row_divergence(student: Float[Tensor, "B N"], teacher: Float[Tensor, "B N"]) -> Float[Tensor, "B"]:
    """Return KL(softmax(teacher) || softmax(student)) of each row; exactly 0 where the logits are equal.

    A row without columns is NaN.
    """
    target = teacher.softmax(1)
    expected_gap = (teacher - student).mul_(target).sum(1)  # in place: one matrix less
    return expected_gap - teacher.logsumexp(1) + student.logsumexp(1)


class Affinity(Term):
    """Soft contrastive distillation by `affinity_divergence`.

    The contrastive relational distillation (CRD) of CLIP-KD (Yang et al. 2024, arXiv:2307.12732) and the affinity
    mimicking of TinyCLIP (Wu et al. 2023, arXiv:2309.12314; ``open_clip.loss.DistillClipLoss`` computes the same as a
    cross entropy, which differs by the teacher's entropy). We differ from them:

    - The teacher's temperature is a setting: its own is nearly one-hot, and a softer target often transfers more.
    - The teacher scores every image against every text of the batch, also those without a partner.
    - The value is the KL, not the cross entropy: 0 when the student agrees, temperatures included.
    - No factor of temperature squared, as neither of them has: the student's temperature is its own.

    A softmax does not depend on ``logit_bias``, so models trained with a sigmoid loss can be distilled too.

    Args:
        pair: the two modalities, such as ``[image, text]``.
        teacher_temperature: divides the teacher's cosines; CLIP's own is about 0.01. None: the teacher's
            ``logit_scale``.
        student_temperature: divides the student's. None: the student's own learned ``logit_scale``.
        over: ``present``: rows and columns are all samples that have the modality; ``pairs``: only samples with both.
        teacher_pair: the teacher's two modalities, where they are others: a student's ``[audio, text]`` may follow a
            teacher's ``[image, text]``. None: the same pair.
        tile: as in `Contrastive`.
    """

    paper = "Yang et al. 2024, arXiv:2307.12732; Wu et al. 2023, arXiv:2309.12314"

    def __init__(
        self,
        pair: Sequence[str],
        teacher_temperature: float | int | None = None,
        student_temperature: float | int | None = None,
        over: Over = "present",
        teacher_pair: Sequence[str] | None = None,
        tile: int | None = None,
    ) -> None:
        super().__init__()
        self.pair = checked_pair("Affinity", pair)
        self.teacher_pair = checked_pair("Affinity", pair if teacher_pair is None else teacher_pair)
        self.teacher_temperature = checked_temperature("Affinity: teacher_temperature", teacher_temperature)
        self.student_temperature = checked_temperature("Affinity: student_temperature", student_temperature)
        self.over = checked_choice("Affinity: over", over, get_args(Over))
        self.tile = checked_tile("Affinity: tile", tile)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the divergence of the student's affinities from the teacher's."""
        (our_first, our_second), (their_first, their_second) = self.pair, self.teacher_pair
        first = both_present(student, our_first, teacher, their_first)
        second = both_present(student, our_second, teacher, their_second)
        if self.over == "pairs":
            first = second = first & second
        return affinity_divergence(
            read(student, our_first, "student"),
            read(student, our_second, "student"),
            read(teacher, their_first, "teacher"),
            read(teacher, their_second, "teacher"),
            scale_of(student, self.student_temperature, "student", self.pair),
            scale_of(teacher, self.teacher_temperature, "teacher", self.teacher_pair),
            first,
            second,
            self.tile,
        )

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pair of both models, and the scale of each whose temperature is not set."""
        pair, scale = named_pair(arguments), frozenset({"logit_scale"})
        theirs = pair if arguments.get("teacher_pair") is None else named_pair({"pair": arguments["teacher_pair"]})
        student = pair | scale if arguments.get("student_temperature") is None else pair
        teacher = theirs | scale if arguments.get("teacher_temperature") is None else theirs
        return student, teacher
