"""Terms on scores and labels: which samples have one, and what a mixed batch has in its place."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.losses.logits.classes import read_label, read_scores
from kdmm.losses.term import SampleTerm, named
from kdmm.outputs import Batch, Outputs, present, scatter_present

__all__ = ["LabelTerm"]


class LabelTerm(SampleTerm):
    """A mean over the samples that have scores and a label; a subclass says what is computed of them.

    Of a batch that `kdmm.callbacks.Mix` has mixed, each sample's value is the mean over its own label and its
    partner's, by their shares; both must be known.

    Args:
        label: the batch's entry that holds (B,) labels in [0, C), or -1 for none.
        logits: what the student's scores are called.
    """

    def __init__(self, label: str, logits: str) -> None:
        super().__init__()
        self.label = label
        self.logits = logits

    @abstractmethod
    def loss(self, scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
        """Return one value a row, from scores before any softmax and labels in [0, C)."""

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the loss of each sample that has scores and a label, and which these are."""
        name = type(self).__name__
        scores = read_scores(name, student, self.logits, "student")
        labels = read_label(name, batch, self.label, scores)
        valid = present(student, self.logits) & (labels >= 0)
        mixed = f"mixed/{self.label}"
        if mixed not in batch:
            return scatter_present(self.loss(scores[valid], labels[valid]), valid), valid
        partners = read_label(name, batch, mixed, scores)
        valid = valid & (partners >= 0)
        own, other = (self.loss(scores[valid], each[valid]) for each in (labels, partners))
        share = batch["mixed/share"]
        return scatter_present(share * own + (1 - share) * other, valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the student's scores; nothing of the teacher."""
        return named(arguments.get("logits", "logits")), frozenset()
