"""The student attends to what the teacher attends to."""

from collections.abc import Mapping
from typing import Any, cast

from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import global_mean
from kdmm.errors import InputError
from kdmm.losses.precision import full_precision
from kdmm.losses.sequences.layers import checked_layers, named_layers
from kdmm.losses.sequences.tokens import both_valid, read_tokens
from kdmm.losses.term import Term, all_true
from kdmm.outputs import Batch, Outputs

__all__ = ["AttentionMaps", "attention_map_distance"]

MASKED = -1e3  # scores at or below are masks: -inf, -1e4 of BERT, the least number of a precision; true ones are < 100
ATTENTION = "(B, heads, T, S)"


@full_precision
def attention_map_distance(
    student: Float[Tensor, "B H T S"],
    teacher: Float[Tensor, "B K T S"],
    valid: Bool[Tensor, "B T"],
    keys: Bool[Tensor, "B S"] | None = None,
) -> Float[Tensor, "N"]:
    """Mean squared difference over heads, at each of the N positions (query, key) that count.

    With as many heads in both, head h is compared with head h; else the heads of each are averaged first, and the
    averages compared. A position counts if its query and its key are valid and neither model masks it, in any head:
    scores before the softmax are masked by -inf or a large negative number.

    Args:
        student: attention of queries (third dimension) to keys (fourth), before or after the softmax.
        teacher: the teacher's of the same tokens, the same side of the softmax; it gets no gradient.
        valid: which tokens count.
        keys: which places count that are attended to; ``None``: they are the tokens themselves.

    Returns:
        One value a position; no reduction over positions.
    """
    pairs = valid[:, :, None] & (valid if keys is None else keys)[:, None, :]
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
        layers: by the student's name of attention (B, heads, T, S), tapped or given, the teacher's name.
            ``valid/<name>`` (B, T) says which tokens count; ``keys/<name>`` (B, S) which places that are attended to,
            in attention to others than the tokens themselves, such as a decoder's to what was read.
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
            keys = _both_keys(student, name, teacher, other)
            _check_keys(ours, name, theirs, other, valid if keys is None else keys)
            values = attention_map_distance(ours, theirs, valid, keys)
            total = total + global_mean(values, all_true(values))
        return cast(Tensor, total)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the layers given."""
        return named_layers(arguments)


def _both_keys(student: Outputs, name: str, teacher: Outputs, other: str) -> Bool[Tensor, "B S"] | None:
    """Return which of the places attended to count for both models; ``None``: neither attends to others than tokens."""
    given = [outputs[f"keys/{own}"] for outputs, own in ((student, name), (teacher, other)) if f"keys/{own}" in outputs]
    if len(given) < 2:
        return given[0] if given else None
    return given[0] & given[1] if given[0].shape == given[1].shape else given[0]


def _check_keys(ours: Tensor, name: str, theirs: Tensor, other: str, keys: Tensor) -> None:
    if not ours.shape[3] == theirs.shape[3] == keys.shape[1]:
        raise InputError(
            f"AttentionMaps: student.{name} attends to {ours.shape[3]} places, teacher.{other} to {theirs.shape[3]}, "
            f"and {keys.shape[1]} are said to count. Compare attention to the same places: give both models the same "
            "tokens, or as many places of what they look at."
        )
