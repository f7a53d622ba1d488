"""Masks as COCO's run lengths, checked without drawing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdmm.errors import InputError

__all__ = ["check_run_lengths"]

FIRST = 48  # the character of 0, in which five bits of a number stand, the lowest first
MORE, SIGN, BITS = 32, 16, 5  # more characters follow; in the last one: the number is negative
LONGEST = 7  # characters of a number of 32 bits


def check_run_lengths(given: Mapping[str, Any], width: int, height: int) -> None:
    """Refuse run lengths that are no mask of a picture; pycocotools reads beyond some of them.

    Args:
        given: ``size``, and as ``counts`` how many pixels, column by column, are outside and inside in turn: a list, or
            what pycocotools writes.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Raises:
        InputError: they are none; the message says why.
    """
    counts = given.get("counts")
    if given.get("size") != [height, width] or not isinstance(counts, list | str):
        raise InputError(
            f"has run lengths of the size {given.get('size')}, and the picture is [{height}, {width}] (or they have no "
            "`counts`)"
        )
    runs = _decoded(counts) if isinstance(counts, str) else _listed(counts)
    if (runs < 0).any() or (runs > width * height).any() or runs.sum() != width * height:
        raise InputError(f"has run lengths that do not add up to the picture's {width * height} pixels")
    if not runs[1::2].any():
        raise InputError("has run lengths without a pixel of the object")


def _listed(counts: list[Any]) -> NDArray[np.int64]:
    if not all(type(run) is int and abs(run) < 2**31 for run in counts):
        raise InputError("has run lengths that are no whole numbers of 32 bits")
    return np.asarray(counts, dtype=np.int64)


def _decoded(counts: str) -> NDArray[np.int64]:
    """Return the numbers of a string; from the fourth on each is written less the one before the last."""
    parts = np.asarray([ord(each) - FIRST for each in counts], dtype=np.int64)
    ends = np.flatnonzero(parts & MORE == 0)
    starts = np.concatenate([[0], ends + 1])[:-1]
    lengths = ends - starts + 1
    whole = len(ends) > 0 and ends[-1] == len(parts) - 1
    if not whole or ((parts < 0) | (parts >= 2 * MORE)).any() or (lengths > LONGEST).any():
        raise InputError("has run lengths that are no string of pycocotools")
    places = np.arange(len(parts)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((parts & (MORE - 1)) << (BITS * places), starts)
    runs = runs - np.where(parts[ends] & SIGN, 1 << (BITS * lengths), 0)
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs
