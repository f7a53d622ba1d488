"""Which notes are for training, validation and testing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from kdmm.data.concept_folds import Place

__all__ = ["PLACES", "spread"]

PLACES: tuple[Place, ...] = (0, 1, "val", 2, 3, 4)
"""In the order in which they are dealt: of six neighbours, validation has one from the middle."""

Item = TypeVar("Item", int, str)


def spread(items: Iterable[Item]) -> dict[Item, Place]:
    """Give each item its place, in turn, so that every place is spread over the whole range.

    Args:
        items: in their order.
    """
    return {item: PLACES[number % len(PLACES)] for number, item in enumerate(items)}
