"""The teacher's trust in the label, and how it shares the rest among the other classes."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.losses.logits.classes import other_classes, read_both_scores, read_label, refuse_two_classes
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, scatter_present

__all__ = ["NKD", "normalized_cross_entropy"]


@full_precision
def normalized_cross_entropy(
    student: Float[Tensor, "N C"],
    teacher: Float[Tensor, "N C"],
    labels: Int[Tensor, "N"],
    gamma: float | int = 1.5,
    temperature: float | int = 1.0,
) -> Float[Tensor, "N"]:
    """Cross entropy of the label by the teacher's trust in it, and of the other classes among themselves, in nats.

    With p = softmax(teacher) and q = softmax(student) at temperature 1, label y, and p', q' the softmaxes over the
    classes besides y at temperature T::

        -p_y log q_y - gamma T² sum_{c != y} p'_c log q'_c

    As a cross entropy it is not 0 where the student agrees: its least value is gamma T² times the entropy of p', where
    q' = p' and q_y = 1.

    Args:
        student: scores of C > 2 classes, before any softmax. A class masked by -inf in both models is left out; a class
            besides y must be left.
        teacher: the teacher's; they get no gradient.
        labels: in [0, C).
        gamma: weight of the other classes' part.
        temperature: T, divides the scores of both in that part.

    Returns:
        One value a row; no reduction.
    """
    labels, teacher = labels.long(), teacher.detach()
    trust, likelihood = (scores.log_softmax(1).gather(1, labels[:, None]).squeeze(1) for scores in (teacher, student))
    p = (other_classes(teacher, labels) / temperature).softmax(1)
    log_q = (other_classes(student, labels) / temperature).log_softmax(1)
    of_others = (p * torch.where(p > 0, log_q, 0.0)).sum(1)
    return -trust.exp() * likelihood - gamma * temperature**2 * of_others


class NKD(SampleTerm):
    """Mean `normalized_cross_entropy` of class scores: normalized knowledge distillation.

    Yang et al. 2023, arXiv:2303.13005. In the paper the loss on labels, `CrossEntropy`, is added with weight 1. Samples
    without a label do not count. We differ in refusing two classes, where the other classes' part is constant.

    Args:
        gamma: weight of the other classes' part; 1.5 in the paper on ImageNet.
        temperature: softens the other classes; 1 in the paper on ImageNet.
        label: the batch's entry that holds (B,) labels in [0, C), or -1 for none.
        student: what the student's scores are called.
        teacher: what the teacher's scores are called.
    """

    paper = "Yang et al. 2023, arXiv:2303.13005"

    def __init__(
        self,
        gamma: float | int = 1.5,
        temperature: float | int = 1.0,
        label: str = "label",
        student: str = "logits",
        teacher: str = "logits",
    ) -> None:
        super().__init__()
        self.gamma = checked_number("NKD: gamma", gamma, least=0.0)
        self.temperature = checked_number("NKD: temperature", temperature, above=0.0)
        self.label = label
        self.student_name = student
        self.teacher_name = teacher

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the cross entropy of each sample that has a label."""
        ours, theirs, both = read_both_scores("NKD", student, self.student_name, teacher, self.teacher_name)
        refuse_two_classes("NKD", ours)
        labels = read_label("NKD", batch, self.label, ours)
        valid = both & (labels >= 0)
        values = normalized_cross_entropy(ours[valid], theirs[valid], labels[valid], self.gamma, self.temperature)
        return scatter_present(values, valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student", "logits")), named(arguments.get("teacher", "logits"))
