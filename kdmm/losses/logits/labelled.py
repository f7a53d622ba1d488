"""Losses on labels: which samples have one, and what a mixed batch has in its place."""

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.losses.logits.classes import read_label, read_scores
from kdmm.outputs import Batch, Outputs, present, scatter_present

__all__ = ["LabelLoss", "per_label"]

LabelLoss: TypeAlias = Callable[[Float[Tensor, "N C"], Int[Tensor, "N"]], Float[Tensor, "N"]]
"""From scores before any softmax and labels in [0, C) to one value a row."""


def per_label(
    term: str, student: Outputs, logits: str, batch: Batch, label: str, loss: LabelLoss
) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
    """Return the loss of each sample that has scores and a label, and which these are.

    Of a batch that `kdmm.callbacks.Mix` has mixed, each sample's value is the mean over its own label and its
    partner's, by their shares; both must be known.

    Args:
        term: whose class, for messages.
        student: its scores are read.
        logits: what they are called.
        batch: the labels are read.
        label: what they are called.
        loss: what is computed of the rows that count.
    """
    scores = read_scores(term, student, logits, "student")
    labels = read_label(term, batch, label, scores)
    valid = present(student, logits) & (labels >= 0)
    mixed = f"mixed/{label}"
    if mixed not in batch:
        return scatter_present(loss(scores[valid], labels[valid]), valid), valid
    partners = read_label(term, batch, mixed, scores)
    valid = valid & (partners >= 0)
    own, other = (loss(scores[valid], each[valid]) for each in (labels, partners))
    share = batch["mixed/share"]
    return scatter_present(share * own + (1 - share) * other, valid), valid
