"""Distillation from a teacher that is made up from the labels."""

import math
from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.losses.logits.classes import read_label, read_scores
from kdmm.losses.logits.divergence import softmax_divergence
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, present, scatter_present

__all__ = ["TeacherFree", "virtual_teacher_divergence"]


@full_precision
def virtual_teacher_divergence(
    student: Float[Tensor, "N C"], labels: Int[Tensor, "N"], correct: float | int = 0.9, temperature: float | int = 20.0
) -> Float[Tensor, "N"]:
    """KL(virtual teacher || student) at a temperature, of each row, in nats times temperature squared.

    The virtual teacher gives the label the probability ``correct`` and the other classes equal shares of the rest. It
    is softened as a model's softmax is: p_c^(1/T) over the sum of these.

    Args:
        student: scores of C classes, before any softmax.
        labels: in [0, C).
        correct: the label's probability before softening.
        temperature: T.

    Returns:
        One value a row; no reduction.
    """
    rest = math.log((1 - correct) / (student.shape[1] - 1)) if correct < 1 else -math.inf
    teacher = student.new_full(student.shape, rest).scatter(1, labels.long()[:, None], math.log(correct))
    return softmax_divergence(student, teacher, "forward", temperature)


class TeacherFree(SampleTerm):
    """Mean `virtual_teacher_divergence` of class scores: Tf-KD_reg, which needs no teacher.

    Yuan et al. 2020, arXiv:1909.11723, whose loss is (1 - a) `CrossEntropy` + a of this. We differ: the factor of
    temperature squared, which all our softened losses have (their formula has none: divide a by it), and the softening
    of the probabilities themselves (their code takes them for scores, softmax(p / T), which is nearly uniform). Samples
    without a label do not count.

    Args:
        label: the batch's entry that holds (B,) labels in [0, C), or -1 for none.
        correct: the virtual teacher's accuracy, the label's probability; at least 0.9 in the paper.
        temperature: divides the scores of both; at least 20 in the paper.
        logits: what the student's scores are called.
    """

    paper = "Yuan et al. 2020, arXiv:1909.11723"

    def __init__(
        self,
        label: str = "label",
        correct: float | int = 0.9,
        temperature: float | int = 20.0,
        logits: str = "logits",
    ) -> None:
        super().__init__()
        self.label = label
        self.correct = checked_number("TeacherFree: correct", correct, above=0.0, most=1.0)
        self.temperature = checked_number("TeacherFree: temperature", temperature, above=0.0)
        self.logits = logits

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the divergence of each sample that has a label."""
        scores = read_scores("TeacherFree", student, self.logits, "student")
        labels = read_label("TeacherFree", batch, self.label, scores)
        valid = present(student, self.logits) & (labels >= 0)
        values = virtual_teacher_divergence(scores[valid], labels[valid], self.correct, self.temperature)
        return scatter_present(values, valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the student's scores; nothing of the teacher."""
        return named(arguments.get("logits", "logits")), frozenset()
