"""The student's token scores against the tokens themselves."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import global_mean
from kdmm.errors import InputError
from kdmm.losses.logits.cross_entropy import smoothed_cross_entropy
from kdmm.losses.sequences.tokens import named_labels, read_tokens, token_labels, valid_tokens
from kdmm.losses.term import Term, all_true, checked_number, named
from kdmm.outputs import IGNORED, Batch, Outputs

__all__ = ["SequenceCrossEntropy"]


class SequenceCrossEntropy(Term):
    """Mean `smoothed_cross_entropy` of token scores (B, T, V) and labels (B, T), over the valid tokens of all ranks.

    On labels from data it is the loss of language modelling, in nats a token. On sequences that the teacher generated
    (by beam search in the paper) it is sequence-level knowledge distillation (Kim and Rush 2016, arXiv:1606.07947),
    which asks for no common vocabulary. We differ from the paper's sum over a sequence in the mean over all tokens.

    Args:
        label: the batch's entry that holds (B, T) labels, or ``student.<name>`` for an output of the student, such as
            the ``student.tokens`` of a model that writes. They are aligned with the scores: labels[:, t] is the token
            that scores[:, t] predict. Nothing is shifted here.
        ignore_index: the label of tokens that do not count.
        smoothing: the share of the target that all tokens of the vocabulary get alike, in [0, 1].
        logits: what the student's scores are called.
    """

    paper = "Kim and Rush 2016, arXiv:1606.07947"

    def __init__(
        self,
        label: str = "labels",
        ignore_index: int = IGNORED,
        smoothing: float | int = 0.0,
        logits: str = "logits",
    ) -> None:
        super().__init__()
        self.label = label
        self.ignore_index = ignore_index
        self.smoothing = checked_number("SequenceCrossEntropy: smoothing", smoothing, least=0.0, most=1.0)
        self.logits = logits

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the cross entropy of the tokens that count."""
        term = type(self).__name__
        scores = read_tokens(term, student, self.logits, "student")
        tokens = valid_tokens(student, self.logits)
        labels, valid = token_labels(term, student, batch, self.label, self.ignore_index, tokens)
        scores, labels = scores[valid], labels[valid]
        if len(labels) and not (labels.min() >= 0 and labels.max() < scores.shape[1]):
            raise InputError(
                f"{term}: {self.label!r} holds labels from {int(labels.min())} to {int(labels.max())}, but the "
                f"student scores {scores.shape[1]} tokens. Give 0 to {scores.shape[1] - 1}, or {self.ignore_index}, "
                "the ignore_index, for tokens that do not count."
            )
        values = smoothed_cross_entropy(scores, labels, self.smoothing)
        return global_mean(values, all_true(values))

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the student's scores, and its labels if they are its own; nothing of the teacher."""
        return named(arguments.get("logits", "logits")) | named_labels(arguments), frozenset()
