"""Which notes are for training, validation and testing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from kdmm.data.source import Split

__all__ = ["FOLDS", "PLACES", "Place", "deal", "taken"]

FOLDS = 5
Place: TypeAlias = int | str
"""The fold in which something is tested, or ``val``."""

PLACES: tuple[Place, ...] = (0, 1, "val", 2, 3, 4)
"""In the order in which they are dealt: of six neighbours, validation has one from the middle."""

Item = TypeVar("Item", int, str)


def deal(items: Iterable[Item]) -> dict[Item, Place]:
    """Give each item its place, in turn, so that every place is spread over the whole range.

    Args:
        items: in their order.
    """
    return {item: PLACES[number % len(PLACES)] for number, item in enumerate(items)}


def taken(place: Place | None, split: Split, fold: int) -> bool:
    """Return whether what has a place is in a split; what has none is for training."""
    return split == ("val" if place == "val" else "test" if place == fold else "train")
