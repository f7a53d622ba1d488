"""The student attends to what the teacher attends to."""

from collections.abc import Mapping
from typing import Any, cast

from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import global_mean
from kdmm.losses.precision import full_precision
from kdmm.losses.sequences.layers import checked_layers, named_layers
from kdmm.losses.sequences.tokens import both_valid, read_tokens
from kdmm.losses.term import Term, all_true
from kdmm.outputs import Batch, Outputs

__all__ = ["AttentionMaps", "attention_map_distance"]

MASKED = -1e3  # scores at or below are masks: -inf, -1e4 of BERT, the least number of a precision; true ones are < 100
ATTENTION = "(B, heads, T, T)"


@full_precision
def attention_map_distance(
    student: Float[Tensor, "B H T T"], teacher: Float[Tensor, "B K T T"], valid: Bool[Tensor, "B T"]
) -> Float[Tensor, "N"]:
    """Mean squared difference over heads, at each of the N positions (query, key) that count.

    With as many heads in both, head h is compared with head h; else the heads of each are averaged first, and the
    averages compared. A position counts if its query and its key are valid tokens and neither model masks it, in any
    head: scores before the softmax are masked by -inf or a large negative number.

    Args:
        student: attention of queries (third dimension) to keys (fourth), before or after the softmax.
        teacher: the teacher's of the same tokens, the same side of the softmax; it gets no gradient.
        valid: which tokens count.

    Returns:
        One value a position; no reduction over positions.
    """
    pairs = valid[:, :, None] & valid[:, None, :]
    ours, theirs = (x.permute(0, 2, 3, 1)[pairs] for x in (student, teacher.detach()))
    kept = (ours > MASKED).all(1) & (theirs > MASKED).all(1)
    ours, theirs = ours[kept], theirs[kept]
    if ours.shape[1] != theirs.shape[1]:
        ours, theirs = ours.mean(1, keepdim=True), theirs.mean(1, keepdim=True)
    return (ours - theirs).square().mean(1)


class AttentionMaps(Term):
    """Sum over layers of the mean `attention_map_distance` over the valid positions of all ranks.

    The attention loss of TinyBERT (Jiao et al. 2020, arXiv:1909.10351), which compares scores before the softmax and
    finds that faster than probabilities; either may be tapped, the same of both models. We differ: positions of padding
    and masks do not count, and where the numbers of heads differ, which TinyBERT excludes, the averages over heads are
    compared: what the heads do differently is then lost.

    Args:
        layers: by the student's name of tapped attention (B, heads, T, T), the teacher's name. ``valid/<name>`` (B, T)
            says which tokens count.
    """

    paper = "Jiao et al. 2020, arXiv:1909.10351"

    def __init__(self, layers: Mapping[str, str]) -> None:
        super().__init__()
        self.layers = checked_layers("AttentionMaps", layers)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the distance of the student's attention from the teacher's."""
        total: Tensor | float = 0.0
        for name, other in self.layers.items():
            ours = read_tokens("AttentionMaps", student, name, "student", ATTENTION)
            theirs = read_tokens("AttentionMaps", teacher, other, "teacher", ATTENTION)
            valid = both_valid("AttentionMaps", student, name, teacher, other)
            values = attention_map_distance(ours, theirs, valid)
            total = total + global_mean(values, all_true(values))
        return cast(Tensor, total)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the layers given."""
        return named_layers(arguments)
