"""The student's softened class probabilities follow the teacher's."""

from collections.abc import Mapping
from typing import Any, get_args

from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.losses.logits.classes import read_both_scores
from kdmm.losses.logits.divergence import Divergence, softmax_divergence
from kdmm.losses.logits.standardize import standardized
from kdmm.losses.term import SampleTerm, checked_choice, checked_number, named
from kdmm.outputs import Batch, Outputs, scatter_present

__all__ = ["KD"]


class KD(SampleTerm):
    """Mean `softmax_divergence` of class scores from the teacher's: knowledge distillation.

    Hinton et al. 2015, arXiv:1503.02531, with their factor of temperature squared. The reduction is the mean over
    samples (``batchmean`` of ``kl_div``), not over elements. It is the KL and not the cross entropy, which differs by
    the teacher's entropy and has the same gradient. The loss on labels is a term of its own, `CrossEntropy`.

    It compares one distribution over the classes of a sample. Multilabel scores, where each class is there or not, have
    no such distribution: a softmax would make the labels compete.

    Args:
        temperature: divides the scores of both models. High ones compare the scores of all classes, low ones the best.
        divergence: ``forward`` as in the paper, ``reverse``, or ``jensen_shannon``.
        standardize: take z-scores first (`standardized`; Sun et al. 2024, arXiv:2403.01427), so that the student need
            not match the range of the teacher's scores. Theirs uses temperature 2 and large weights, 9 on CIFAR-100.
        student: what the student's scores are called.
        teacher: what the teacher's scores are called.
    """

    paper = "Hinton et al. 2015, arXiv:1503.02531; Sun et al. 2024, arXiv:2403.01427"

    def __init__(
        self,
        temperature: float | int = 4.0,
        divergence: Divergence = "forward",
        standardize: bool = False,
        student: str = "logits",
        teacher: str = "logits",
    ) -> None:
        super().__init__()
        self.temperature = checked_number("KD: temperature", temperature, above=0.0)
        checked_choice("KD: divergence", divergence, get_args(Divergence))
        self.divergence: Divergence = divergence
        self.standardize = standardize
        self.student_name = student
        self.teacher_name = teacher

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the divergence of each of the student's distributions from the teacher's."""
        ours, theirs, valid = read_both_scores("KD", student, self.student_name, teacher, self.teacher_name)
        ours, theirs = ours[valid], theirs[valid].detach()
        if self.standardize:
            ours, theirs = standardized(ours), standardized(theirs)
        return scatter_present(softmax_divergence(ours, theirs, self.divergence, self.temperature), valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student", "logits")), named(arguments.get("teacher", "logits"))
