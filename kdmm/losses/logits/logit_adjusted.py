"""Cross entropy of scores to which how frequent each class is has been added."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.losses.logits.counts import check_classes, checked_counts
from kdmm.losses.logits.cross_entropy import smoothed_cross_entropy
from kdmm.losses.logits.labelled import per_label
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs

__all__ = ["LogitAdjusted", "adjusted_cross_entropy", "log_prior"]


def log_prior(counts: Sequence[int]) -> list[float]:
    """Return the logarithm of each class's share of the samples.

    Args:
        counts: samples of each class, 1 or more.
    """
    return [math.log(count / sum(counts)) for count in counts]


@full_precision
def adjusted_cross_entropy(
    scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"], adjustment: Sequence[float]
) -> Float[Tensor, "N"]:
    """Cross entropy of ``scores + adjustment``, of each row, in nats.

    Args:
        scores: of C classes, before any softmax.
        labels: in [0, C).
        adjustment: of the C classes.

    Returns:
        One value a row; no reduction.
    """
    return smoothed_cross_entropy(scores + scores.new_tensor(adjustment), labels)


class LogitAdjusted(SampleTerm):
    """Mean cross entropy of labels and ``scores + tau * log_prior``: the logit-adjusted loss.

    Menon et al. 2021, arXiv:2007.07314. What is common is learned by the prior, so that the scores alone,
    which evaluation takes, are of classes that are alike frequent: their best class has the least balanced error, the
    mean over classes of each one's error. Takes labels of a mixed batch as `kdmm.losses.CrossEntropy` does.

    Args:
        counts: training samples of each class, in the order of the labels, as `kdmm.data.balanced.class_counts` counts
            them.
        tau: how much of the prior is added: 1 balances, 0 is `CrossEntropy`.
        label: the batch's entry that holds (B,) labels in [0, C), or -1 for none.
        logits: what the student's scores are called.
    """

    paper = "Menon et al. 2021, arXiv:2007.07314"

    def __init__(
        self, counts: Sequence[int], tau: float | int = 1.0, label: str = "label", logits: str = "logits"
    ) -> None:
        super().__init__()
        tau = checked_number("LogitAdjusted: tau", tau, least=0.0)
        self.label = label
        self.logits = logits
        self.adjustment = [tau * each for each in log_prior(checked_counts("LogitAdjusted", counts))]

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the cross entropy of the adjusted scores of each sample that has a label."""
        return per_label("LogitAdjusted", student, self.logits, batch, self.label, self._loss)

    def _loss(self, scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
        check_classes("LogitAdjusted", len(self.adjustment), scores)
        return adjusted_cross_entropy(scores, labels, self.adjustment)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the student's scores; nothing of the teacher."""
        return named(arguments.get("logits", "logits")), frozenset()
