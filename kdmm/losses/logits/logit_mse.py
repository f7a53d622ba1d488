"""The student's class scores equal the teacher's."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.losses.logits.classes import read_both_scores
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, named
from kdmm.outputs import Batch, Outputs, scatter_present

__all__ = ["LogitMSE", "score_distance"]


@full_precision
def score_distance(student: Float[Tensor, "N C"], teacher: Float[Tensor, "N C"]) -> Float[Tensor, "N"]:
    """Mean squared difference of each row: 1/C sum_c (student_c - teacher_c)².

    A class masked by -inf in both models is left out, and C counts the others; masked in one alone, the distance is
    infinite.

    Args:
        student: scores of C classes, before any softmax.
        teacher: the teacher's; they get no gradient.

    Returns:
        One value a row; no reduction over rows.
    """
    masked = student.isneginf() & teacher.isneginf()
    gap = torch.where(masked, 0.0, student - teacher.detach())
    return gap.square().sum(1) / (~masked).sum(1)


class LogitMSE(SampleTerm):
    """Mean `score_distance` of class scores: regression on the teacher's scores.

    Ba and Caruana 2014, arXiv:1312.6184, and Kim et al. 2021, arXiv:2105.08919, who find it the limit that KD's
    gradient nears at high temperatures, but for the mean score, which a softmax ignores and this does not. We differ in
    taking a mean over classes, where their formulas sum.

    Args:
        student: what the student's scores are called.
        teacher: what the teacher's scores are called.
    """

    paper = "Ba and Caruana 2014, arXiv:1312.6184; Kim et al. 2021, arXiv:2105.08919"

    def __init__(self, student: str = "logits", teacher: str = "logits") -> None:
        super().__init__()
        self.student_name = student
        self.teacher_name = teacher

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the distance of each of the student's scores from the teacher's."""
        ours, theirs, valid = read_both_scores("LogitMSE", student, self.student_name, teacher, self.teacher_name)
        return scatter_present(score_distance(ours[valid], theirs[valid]), valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student", "logits")), named(arguments.get("teacher", "logits"))
