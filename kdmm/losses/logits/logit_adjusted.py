"""Cross entropy of scores to which how frequent each class is has been added."""

import math
from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from kdmm.losses.logits.counts import check_classes, checked_counts
from kdmm.losses.logits.cross_entropy import smoothed_cross_entropy
from kdmm.losses.logits.labelled import LabelTerm
from kdmm.losses.precision import full_precision
from kdmm.losses.term import checked_number

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


class LogitAdjusted(LabelTerm):
    """Mean cross entropy of labels and ``scores + tau * log_prior``: the logit-adjusted loss.

    Menon et al. 2021, arXiv:2007.07314. What is common is learned by the prior, so that the scores alone,
    which evaluation takes, are of classes that are alike frequent: their best class has the least balanced error, the
    mean over classes of each one's error. Takes labels of a mixed batch as `kdmm.losses.CrossEntropy` does.

    Args:
        counts: training samples of each class, in the order of the labels, as `kdmm.data.balanced.ClassCounts` counts
            them.
        tau: how much of the prior is added: 1 balances, 0 is `CrossEntropy`.
        label: the batch's entry that holds (B,) labels in [0, C), or -1 for none.
        logits: what the student's scores are called.
    """

    paper = "Menon et al. 2021, arXiv:2007.07314"

    def __init__(
        self, counts: Sequence[int], tau: float | int = 1.0, label: str = "label", logits: str = "logits"
    ) -> None:
        super().__init__(label, logits)
        tau = checked_number("LogitAdjusted: tau", tau, least=0.0)
        self.adjustment = [tau * each for each in log_prior(checked_counts("LogitAdjusted", counts))]

    def loss(self, scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
        """Return the cross entropy of the adjusted scores of each row."""
        check_classes("LogitAdjusted", len(self.adjustment), scores)
        return adjusted_cross_entropy(scores, labels, self.adjustment)
