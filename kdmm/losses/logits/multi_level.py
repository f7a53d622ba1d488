"""The student's class probabilities follow the teacher's by instance, by batch and by class."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import gather, global_mean, row_counts, rows_here
from kdmm.errors import InputError
from kdmm.losses.logits.classes import read_both_scores
from kdmm.losses.logits.divergence import softmax_divergence
from kdmm.losses.precision import full_precision
from kdmm.losses.term import Term, all_true, checked_number, named
from kdmm.outputs import Batch, Outputs

__all__ = ["MultiLevelLogits", "multi_level_distance"]


@full_precision
def multi_level_distance(
    student: Float[Tensor, "B C"],
    teacher: Float[Tensor, "B C"],
    temperatures: Sequence[float | int] = (2.0, 3.0, 4.0, 5.0, 6.0),
    weights: tuple[float | int, float | int, float | int] = (1.0, 1.0, 1.0),
) -> Float[Tensor, ""]:
    """Distances of instances, of the batch's and of the classes' relations, summed over temperatures.

    With P = softmax(teacher / T) and Q = softmax(student / T), (B, C), over the samples of all ranks::

        sum over T of   w_0 T² mean_i KL(P_i || Q_i)      each sample's probabilities, in nats
                      + w_1 1/B |P Pᵀ - Q Qᵀ|²            how samples resemble each other
                      + w_2 1/C |PᵀP - QᵀQ|²              how classes resemble each other

    where |.|² sums the squares of all entries. The sums over the batch are the paper's: the second part grows with B,
    the third with B².

    Args:
        student: scores of C classes, before any softmax. -inf masks as in `softmax_divergence`.
        teacher: the teacher's, of the same samples; they get no gradient.
        temperatures: each T divides the scores of both.
        weights: w_0, w_1, w_2.

    Returns:
        This rank's share of the loss; 0 where no rank has a sample.
    """
    counts = row_counts(student)
    here = rows_here(counts)
    all_ours, all_theirs = gather(student, counts=counts), gather(teacher, False, counts)
    total = student.new_zeros(())
    for temperature in temperatures:
        instances = softmax_divergence(student, teacher, "forward", temperature)
        ours, theirs = (all_ours / temperature).softmax(1), (all_theirs / temperature).softmax(1)
        batch = (ours[here] @ ours.T - theirs[here] @ theirs.T).square().sum(1)
        classes = (ours.T @ ours - theirs.T @ theirs).square().sum() / ours.shape[1]
        of_samples = weights[0] * instances + weights[1] * batch
        total = total + global_mean(of_samples, all_true(of_samples)) + weights[2] * classes
    return total


class MultiLevelLogits(Term):
    """`multi_level_distance` of class scores: multi-level logit distillation.

    Jin et al. 2023, "Multi-Level Logit Distillation" (CVPR 2023); its prediction augmentation is the sum over
    temperatures. The instances' part has the factor of temperature squared that all our softened losses have, and we
    differ in that a batch is that of all ranks. The batch's part grows with the batch and the classes' part with its
    square, so weights are tuned for a batch size.

    Args:
        temperatures: at which the probabilities are compared; the losses are summed.
        instance: weight of the samples' own probabilities.
        batch: weight of the relations between samples.
        classes: weight of the relations between classes.
        student: what the student's scores are called.
        teacher: what the teacher's scores are called.
    """

    paper = "Jin et al. 2023, Multi-Level Logit Distillation, CVPR 2023"

    def __init__(
        self,
        temperatures: Sequence[float | int] = (2.0, 3.0, 4.0, 5.0, 6.0),
        instance: float | int = 1.0,
        batch: float | int = 1.0,
        classes: float | int = 1.0,
        student: str = "logits",
        teacher: str = "logits",
    ) -> None:
        super().__init__()
        if not temperatures:
            raise InputError("MultiLevelLogits: temperatures is empty. Give one or more, such as [2, 3, 4, 5, 6].")
        self.temperatures = [checked_number("MultiLevelLogits: temperatures", each, above=0.0) for each in temperatures]
        self.weights = (
            checked_number("MultiLevelLogits: instance", instance, least=0.0),
            checked_number("MultiLevelLogits: batch", batch, least=0.0),
            checked_number("MultiLevelLogits: classes", classes, least=0.0),
        )
        self.student_name = student
        self.teacher_name = teacher

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the distance over the samples that both models score."""
        term = type(self).__name__
        ours, theirs, valid = read_both_scores(term, student, self.student_name, teacher, self.teacher_name)
        return multi_level_distance(ours[valid], theirs[valid], self.temperatures, self.weights)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student", "logits")), named(arguments.get("teacher", "logits"))
