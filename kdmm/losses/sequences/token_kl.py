"""The student's distribution over the next token follows the teacher's, token by token."""

from collections.abc import Mapping
from typing import Any, get_args

from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import global_mean
from kdmm.errors import InputError
from kdmm.losses.logits.divergence import Divergence, softmax_divergence
from kdmm.losses.sequences.tokens import (
    both_valid,
    check_same_tokens,
    named_labels,
    read_tokens,
    token_labels,
)
from kdmm.losses.term import Term, all_true, checked_choice, checked_number, named
from kdmm.outputs import IGNORED, Batch, Outputs

__all__ = ["TokenKL"]


class TokenKL(Term):
    """Mean `softmax_divergence` of token scores (B, T, V), over the valid tokens of all ranks, in nats.

    Word-level knowledge distillation (Kim and Rush 2016, arXiv:1606.07947), with the factor of temperature squared of
    Hinton et al. 2015. Every valid token counts alike: neither padding nor the length of its sequence changes its
    weight. The tokens are those of the batch; MiniLLM (Gu et al. 2023, arXiv:2306.08543; ``reverse``) and GKD (Agarwal
    et al. 2023, arXiv:2306.13649; a generalized ``jensen_shannon``) take the student's own samples, which whoever makes
    the batch must draw.

    Both models must score the same vocabulary. Other sizes are refused, and models that say which ``tokens`` they score
    and disagree on a first batch. Vocabularies of equal size may still be different, and scores padded to a round
    size may hide equal ones: see `check_vocabularies`.

    At the places of hidden tokens (`kdmm.models.MaskedLM`) it is the loss of DistilBERT's soft labels (Sanh et al.
    2019, arXiv:1910.01108).

    Args:
        temperature: divides the scores of both models.
        divergence: ``forward`` as in the paper, ``reverse``, or ``jensen_shannon``.
        label: the batch's entry that holds (B, T) labels, aligned with the scores (labels[:, t] is the token that
            scores[:, t] predict), or ``student.<name>`` for an output of the student; tokens whose label is
            ``ignore_index`` do not count. None: ``valid/<name>`` alone says which tokens count.
        ignore_index: the label of tokens that do not count, such as those of a prompt.
        student: what the student's scores are called.
        teacher: what the teacher's scores are called.
    """

    paper = "Kim and Rush 2016, arXiv:1606.07947"

    def __init__(
        self,
        temperature: float | int = 1.0,
        divergence: Divergence = "forward",
        label: str | None = None,
        ignore_index: int = IGNORED,
        student: str = "logits",
        teacher: str = "logits",
    ) -> None:
        super().__init__()
        self.temperature = checked_number("TokenKL: temperature", temperature, above=0.0)
        checked_choice("TokenKL: divergence", divergence, get_args(Divergence))
        self.divergence: Divergence = divergence
        self.label = label
        self.ignore_index = ignore_index
        self.student_name = student
        self.teacher_name = teacher

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Check that models that say which tokens they score speak of the same ones."""
        if self.student_name == self.teacher_name == "logits":
            check_same_tokens("TokenKL", student, teacher)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the divergence of the student's distributions from the teacher's."""
        ours = read_tokens("TokenKL", student, self.student_name, "student")
        theirs = read_tokens("TokenKL", teacher, self.teacher_name, "teacher")
        if ours.shape[2] != theirs.shape[2]:
            raise InputError(
                f"TokenKL: student.{self.student_name} scores {ours.shape[2]} tokens, and teacher.{self.teacher_name} "
                f"{theirs.shape[2]}. Give both the same vocabulary; where one is padded, cut its scores to the "
                "tokens that there are (check_vocabularies compares them)."
            )
        valid = both_valid("TokenKL", student, self.student_name, teacher, self.teacher_name)
        if self.label is not None:
            _, valid = token_labels("TokenKL", student, batch, self.label, self.ignore_index, valid)
        # selected before widening to float32: padding is never copied
        values = softmax_divergence(ours[valid], theirs[valid], self.divergence, self.temperature)
        return global_mean(values, all_true(values))

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given, and the student's labels if they are its own."""
        ours = named(arguments.get("student", "logits")) | named_labels(arguments)
        return ours, named(arguments.get("teacher", "logits"))
