"""How many training samples each class has, for losses that make up for it."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError

__all__ = ["check_classes", "checked_counts"]


def checked_counts(term: str, counts: Sequence[int]) -> list[int]:
    """Return the counts.

    Raises:
        InputError: they are not of two or more classes, or a class has none.
    """
    counts = list(counts)
    if len(counts) < 2:
        raise InputError(f"{term}: counts is {counts}. Give the number of training samples of each class, two or more.")
    for number, count in enumerate(counts):
        if count < 1:
            raise InputError(
                f"{term}: counts[{number}] is {count}. Each class needs one training sample or more: leave out classes "
                "without any."
            )
    return counts


def check_classes(term: str, counts: int, scores: Float[Tensor, "N C"]) -> None:
    """Refuse scores of another number of classes than was counted.

    Raises:
        InputError: the numbers differ.
    """
    if scores.shape[1] != counts:
        raise InputError(
            f"{term}: counts are of {counts} classes, and the model scores {scores.shape[1]}. Give one count a class, "
            "in the order of the labels."
        )
