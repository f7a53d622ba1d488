"""The student's class scores against the labels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdmm.losses.logits.labelled import LabelTerm
from kdmm.losses.precision import full_precision
from kdmm.losses.term import checked_number

__all__ = ["CrossEntropy", "smoothed_cross_entropy"]


@full_precision
def smoothed_cross_entropy(
    scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"], smoothing: float | int = 0.0
) -> Float[Tensor, "N"]:
    """Cross entropy with smoothed labels, of each row, in nats.

    With q = softmax(scores), label y and smoothing e::

        -(1 - e) log q_y - e/C sum_c log q_c

    as ``F.cross_entropy`` has it (Szegedy et al. 2016, arXiv:1512.00567). Classes masked by -inf get no share of e: C
    counts the others.

    Args:
        scores: of C classes, before any softmax.
        labels: in [0, C).
        smoothing: e.

    Returns:
        One value a row; no reduction.
    """
    log_q = scores.log_softmax(1)
    likelihood = log_q.gather(1, labels.long()[:, None]).squeeze(1)
    if smoothing == 0:
        return -likelihood
    masked = scores.isneginf()
    uniform = torch.where(masked, 0.0, log_q).sum(1) / (~masked).sum(1)
    return -(1 - smoothing) * likelihood - smoothing * uniform


class CrossEntropy(LabelTerm):
    """Mean `smoothed_cross_entropy` of class scores and labels: the loss on labels.

    A teacher that was trained with label smoothing transfers less (Müller et al. 2019, arXiv:1906.02629).

    Of a batch that `kdmm.callbacks.Mix` has mixed, each sample's value is the mean over its own label and its
    partner's, by their shares; both must be known.

    Args:
        label: the batch's entry that holds (B,) labels in [0, C), or -1 for none.
        logits: what the student's scores are called.
        smoothing: the share of the target that all classes get alike, in [0, 1].
    """

    paper = "Szegedy et al. 2016, arXiv:1512.00567 (smoothing)"

    def __init__(self, label: str = "label", logits: str = "logits", smoothing: float | int = 0.0) -> None:
        super().__init__(label, logits)
        self.smoothing = checked_number("CrossEntropy: smoothing", smoothing, least=0.0, most=1.0)

    def loss(self, scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
        """Return the cross entropy of each row."""
        return smoothed_cross_entropy(scores, labels, self.smoothing)
