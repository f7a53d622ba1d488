"""Two answers of one student to one batch agree."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.losses.logits.classes import read_scores
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, both_present, named
from kdmm.outputs import Batch, Outputs, scatter_present

__all__ = ["RDrop", "symmetric_divergence"]


@full_precision
def symmetric_divergence(first: Float[Tensor, "N C"], second: Float[Tensor, "N C"]) -> Float[Tensor, "N"]:
    """Mean of the two KL divergences between two softmaxes, of each row, in nats; both get gradients.

    With p and q their softmaxes::

        1/2 (KL(p || q) + KL(q || p)) = 1/2 sum (p - q) (log p - log q)

    Args:
        first: finite scores of C classes, before any softmax.
        second: the other scores.

    Returns:
        One value a row, 0 where the softmaxes are equal; no reduction.
    """
    log_p, log_q = first.log_softmax(1), second.log_softmax(1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1) / 2


class RDrop(SampleTerm):
    """Mean `symmetric_divergence` of the student's two answers, which dropout made different. The teacher is not read.

    R-Drop (Liang et al. 2021, arXiv:2106.14448). The student is a `kdmm.models.Twice`. Their loss on labels is the mean
    over both answers: add a second `CrossEntropy` with ``logits: logits_again``. Their weight of the divergence, alpha,
    is 1 to 5.

    Args:
        logits: what the student's scores are called.
        again: what the scores of its second answer are called.
    """

    paper = "Liang et al. 2021, arXiv:2106.14448"

    def __init__(self, logits: str = "logits", again: str = "logits_again") -> None:
        super().__init__()
        self.logits = logits
        self.again = again

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return how far the two answers to each sample are apart."""
        first = read_scores("RDrop", student, self.logits, "student")
        second = read_scores("RDrop", student, self.again, "student")
        valid = both_present(student, self.logits, student, self.again)
        return scatter_present(symmetric_divergence(first[valid], second[valid]), valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("logits", "logits"), arguments.get("again", "logits_again")), frozenset()
