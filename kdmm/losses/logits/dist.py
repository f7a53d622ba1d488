"""The student's class probabilities correlate with the teacher's, over classes and over samples."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import gather, global_mean, row_counts
from kdmm.losses.logits.classes import read_both_scores
from kdmm.losses.precision import full_precision
from kdmm.losses.term import Term, all_true, checked_number, named
from kdmm.outputs import Batch, Outputs

__all__ = ["DIST", "correlation_distance", "relation_distance"]

EPS = 1e-8  # of a norm of differences between probabilities, as in the paper's code; below it there is no direction


@full_precision
def correlation_distance(student: Float[Tensor, "N D"], teacher: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
    """1 - Pearson's correlation of corresponding rows, in [0, 2].

    It is taken as half the squared distance of the two rows after centring and scaling to unit length: exactly 0 where
    they agree. A constant row has no direction: 0 against another such, 1/2 against others.

    Args:
        student: rows to be compared.
        teacher: the teacher's; they get no gradient.
    """
    u, v = (F.normalize(x - x.mean(1, keepdim=True), dim=1, eps=EPS) for x in (student, teacher.detach()))
    return (u - v).square().sum(1) / 2


@full_precision
def relation_distance(
    student: Float[Tensor, "B C"],
    teacher: Float[Tensor, "B C"],
    beta: float | int = 1.0,
    gamma: float | int = 1.0,
    temperature: float | int = 1.0,
) -> Float[Tensor, ""]:
    """Correlation distances of softened probabilities within samples and within classes, times temperature squared.

    With P = softmax(teacher / T) and Q = softmax(student / T), (B, C), and d as in `correlation_distance`::

        T² (beta mean_i d(Q_i., P_i.) + gamma mean_c d(Q_.c, P_.c))

    The columns hold the samples of all ranks.

    Args:
        student: scores of C classes, before any softmax. A class masked by -inf has probability 0.
        teacher: the teacher's, of the same samples; they get no gradient.
        beta: weight of the relation between classes (inter-class), a mean over samples.
        gamma: weight of the relation between samples (intra-class), a mean over classes.
        temperature: T, divides the scores of both.

    Returns:
        This rank's share of the loss; 0 where no rank has a sample.
    """
    ours, theirs = (student / temperature).softmax(1), (teacher.detach() / temperature).softmax(1)
    of_samples = correlation_distance(ours, theirs)
    counts = row_counts(ours)
    of_classes = correlation_distance(gather(ours, counts=counts).T, gather(theirs, False, counts).T)
    return temperature**2 * (beta * global_mean(of_samples, all_true(of_samples)) + gamma * of_classes.mean())


class DIST(Term):
    """`relation_distance` of class scores: distillation from a stronger teacher by relations.

    Huang et al. 2022, arXiv:2205.10536. The student keeps the teacher's preference between classes and between samples,
    and need not match its probabilities. As in their code both parts have a factor of temperature squared. We differ in
    comparing over the samples of all ranks, where theirs takes each rank's own.

    Args:
        beta: weight of the relation between the classes of a sample.
        gamma: weight of the relation between samples in a class.
        temperature: divides the scores of both models.
        student: what the student's scores are called.
        teacher: what the teacher's scores are called.
    """

    paper = "Huang et al. 2022, arXiv:2205.10536"

    def __init__(
        self,
        beta: float | int = 1.0,
        gamma: float | int = 1.0,
        temperature: float | int = 1.0,
        student: str = "logits",
        teacher: str = "logits",
    ) -> None:
        super().__init__()
        self.beta = checked_number("DIST: beta", beta, least=0.0)
        self.gamma = checked_number("DIST: gamma", gamma, least=0.0)
        self.temperature = checked_number("DIST: temperature", temperature, above=0.0)
        self.student_name = student
        self.teacher_name = teacher

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the distance over the samples that both models score."""
        ours, theirs, valid = read_both_scores("DIST", student, self.student_name, teacher, self.teacher_name)
        return relation_distance(ours[valid], theirs[valid], self.beta, self.gamma, self.temperature)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student", "logits")), named(arguments.get("teacher", "logits"))
