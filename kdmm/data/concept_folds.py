"""Splits by concept: what is alike is on one side, and every concept outside validation is tested once."""

from __future__ import annotations

from collections.abc import Mapping

from kdmm.data.source import Split
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["FOLDS", "VALIDATION_SHARE", "Place", "check_fold", "deal", "split_of"]

FOLDS = 5
VALIDATION_SHARE = 0.12

Place = int | str
"""``"val"``, or the fold in which a concept is tested."""


def check_fold(fold: int, setting: str) -> None:
    """Refuse a fold that is not one of 0 to 4.

    Args:
        fold: its number.
        setting: what it is set by, for the message.
    """
    if not 0 <= fold < FOLDS:
        raise InputError(f"{setting}: {fold} given; the folds are 0 to {FOLDS - 1}.")


def deal(sizes: Mapping[str, int], salt: str) -> dict[str, Place]:
    """Return for each concept ``"val"`` or the fold in which it is tested.

    Concepts are ranked by a hash, which needs no generator. The first 12 % are for validation; the others are dealt out
    by size, the largest first and to and fro, so that the folds hold nearly equal numbers of samples.

    Args:
        sizes: from a concept to how many samples it has.
        salt: tells data sets apart, so that the same concept may be at different places in two of them.
    """
    ranked = sorted(sizes, key=lambda concept: stable_hash(salt, concept))
    validation = round(VALIDATION_SHARE * len(ranked))
    places: dict[str, Place] = dict.fromkeys(ranked[:validation], "val")
    by_size = sorted(ranked[validation:], key=lambda concept: -sizes[concept])
    order = [*range(FOLDS), *reversed(range(FOLDS))]
    places.update({concept: order[number % len(order)] for number, concept in enumerate(by_size)})
    return places


def split_of(place: Place | None, fold: int) -> Split:
    """Return the split of what is at ``place`` when ``fold`` is for testing; what has no place is for training."""
    if place == "val":
        return "val"
    return "test" if place == fold else "train"
