"""What the teacher says of the label and what it says of the other classes, weighed apart."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.losses.logits.classes import other_classes, read_both_scores, read_label, refuse_two_classes
from kdmm.losses.logits.divergence import softmax_divergence
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, scatter_present

__all__ = ["DKD", "decoupled_divergence"]


@full_precision
def decoupled_divergence(
    student: Float[Tensor, "N C"],
    teacher: Float[Tensor, "N C"],
    labels: Int[Tensor, "N"],
    alpha: float | int = 1.0,
    beta: float | int = 8.0,
    temperature: float | int = 4.0,
) -> Float[Tensor, "N"]:
    """KL(teacher || student) in two parts with weights of their own, of each row, in nats times temperature squared.

    With p = softmax(teacher / T), q = softmax(student / T), label y, and p', q' the same over the classes besides y::

        T² (alpha KL([p_y, 1 - p_y] || [q_y, 1 - q_y]) + beta KL(p' || q'))

    The plain KL is alpha = 1 and beta = 1 - p_y. All logarithms are log-softmaxes of scores: 1 - q_y is never formed,
    so the loss is right at any gap between scores, where log(softmax + eps) is not.

    Args:
        student: scores of C > 2 classes, before any softmax. -inf masks as in `softmax_divergence`; a class besides y
            must be left.
        teacher: the teacher's; they get no gradient.
        labels: in [0, C).
        alpha: weight of the label's part (TCKD).
        beta: weight of the other classes' part (NCKD).
        temperature: T, divides the scores of both.

    Returns:
        One value a row; no reduction.
    """
    student, teacher = student / temperature, teacher.detach() / temperature
    labels = labels.long()
    others = other_classes(student, labels), other_classes(teacher, labels)
    ours, theirs = (
        torch.stack([scores.gather(1, labels[:, None]).squeeze(1), rest.logsumexp(1)], 1)
        for scores, rest in zip((student, teacher), others, strict=True)
    )
    return temperature**2 * (alpha * softmax_divergence(ours, theirs) + beta * softmax_divergence(*others))


class DKD(SampleTerm):
    """Mean `decoupled_divergence` of class scores: decoupled knowledge distillation.

    Zhao et al. 2022, arXiv:2203.08679. Samples without a label do not count. We differ in refusing two classes, where
    the other classes' part is 0 whatever the models say. Their warm-up of the weight (20 epochs on CIFAR-100) is a
    schedule of the objective's weight.

    Args:
        alpha: weight of the label's part, 1 in the paper.
        beta: weight of the other classes' part; larger in the paper for surer teachers, 8 and less on CIFAR-100.
        temperature: divides the scores of both models; 4 on CIFAR-100 in the paper, 1 on ImageNet.
        label: the batch's entry that holds (B,) labels in [0, C), or -1 for none.
        student: what the student's scores are called.
        teacher: what the teacher's scores are called.
    """

    paper = "Zhao et al. 2022, arXiv:2203.08679"

    def __init__(
        self,
        alpha: float | int = 1.0,
        beta: float | int = 8.0,
        temperature: float | int = 4.0,
        label: str = "label",
        student: str = "logits",
        teacher: str = "logits",
    ) -> None:
        super().__init__()
        self.alpha = checked_number("DKD: alpha", alpha, least=0.0)
        self.beta = checked_number("DKD: beta", beta, least=0.0)
        self.temperature = checked_number("DKD: temperature", temperature, above=0.0)
        self.label = label
        self.student_name = student
        self.teacher_name = teacher

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the divergence of each sample that has a label."""
        ours, theirs, both = read_both_scores("DKD", student, self.student_name, teacher, self.teacher_name)
        refuse_two_classes("DKD", ours)
        labels = read_label("DKD", batch, self.label, ours)
        valid = both & (labels >= 0)
        weights = self.alpha, self.beta, self.temperature
        return scatter_present(decoupled_divergence(ours[valid], theirs[valid], labels[valid], *weights), valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student", "logits")), named(arguments.get("teacher", "logits"))
