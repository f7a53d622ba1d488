"""Cross entropy in which rare classes weigh more."""

import math
from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from kdmm.errors import InputError
from kdmm.losses.logits.counts import check_classes, checked_counts
from kdmm.losses.logits.cross_entropy import smoothed_cross_entropy
from kdmm.losses.logits.labelled import LabelTerm
from kdmm.losses.precision import full_precision
from kdmm.losses.term import checked_number

__all__ = ["ClassBalanced", "effective_weights", "weighted_cross_entropy"]


def effective_weights(counts: Sequence[int], beta: float | int) -> list[float]:
    """Return each class's weight, the inverse of its effective number of samples, such that the weights add up to C.

    With n_c samples of class c::

        w_c = C / E_c / sum_d (1 / E_d)      E_c = (1 - beta^n_c) / (1 - beta)

    Cui et al. 2019, arXiv:1901.05555. At beta = 0 all are 1; towards 1 they are as 1 / n_c.

    Args:
        counts: n_c of the C classes, 1 or more each.
        beta: in [0, 1).
    """
    # 1 - beta^n for beta close to 1, where beta^n is close to 1 too; the factor 1 - beta cancels
    inverse = [1.0 if beta == 0 else -1 / math.expm1(count * math.log(beta)) for count in counts]
    return [len(counts) * each / sum(inverse) for each in inverse]


@full_precision
def weighted_cross_entropy(
    scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"], weights: Sequence[float]
) -> Float[Tensor, "N"]:
    """Cross entropy times the weight of the label, of each row, in nats.

    Args:
        scores: of C classes, before any softmax.
        labels: in [0, C).
        weights: of the C classes.

    Returns:
        One value a row; no reduction.
    """
    return scores.new_tensor(weights)[labels.long()] * smoothed_cross_entropy(scores, labels)


class ClassBalanced(LabelTerm):
    """Mean cross entropy of scores and labels, each sample weighted by its class: `effective_weights`.

    The class-balanced softmax loss of Cui et al. 2019, arXiv:1901.05555. As there, the weights add up to the number of
    classes and the reduction is the mean over samples: with very unequal counts the value is below that of
    `kdmm.losses.CrossEntropy`, which matters beside other terms. Takes labels of a mixed batch as `CrossEntropy` does.

    Args:
        counts: training samples of each class, in the order of the labels, as `kdmm.data.balanced.ClassCounts` counts
            them.
        beta: how much of the inequality is made up for: 0 nothing, 0.9 to 0.9999 in the paper.
        label: the batch's entry that holds (B,) labels in [0, C), or -1 for none.
        logits: what the student's scores are called.
    """

    paper = "Cui et al. 2019, arXiv:1901.05555"

    def __init__(
        self, counts: Sequence[int], beta: float | int = 0.999, label: str = "label", logits: str = "logits"
    ) -> None:
        super().__init__(label, logits)
        counts = checked_counts("ClassBalanced", counts)
        self.beta = checked_number("ClassBalanced: beta", beta, least=0.0)
        if self.beta >= 1:
            raise InputError(f"ClassBalanced: beta is {beta}. Give a number below 1, such as 0.999.")
        self.weights = effective_weights(counts, self.beta)

    def loss(self, scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
        """Return the weighted cross entropy of each row."""
        check_classes("ClassBalanced", len(self.weights), scores)
        return weighted_cross_entropy(scores, labels, self.weights)
