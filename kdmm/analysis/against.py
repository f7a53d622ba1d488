"""Rows of an experiment held against one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdmm.analysis.intervals import mean_interval, paired_difference
from kdmm.analysis.tables import NOTHING, Table

__all__ = ["against", "differences"]


def against(title: str, found: Mapping[str, Mapping[Any, float]], baseline: str) -> Table:
    """Return each row's mean and its paired difference from one of them, in percent, the best row first.

    Args:
        title: stands above the table.
        found: values by row and fold (or seed), such as accuracies from 0 to 1.
        baseline: the row that the others are held against; without it the differences are left out.
    """
    rows = []
    means = {row: mean_interval(list(values.values())) for row, values in found.items()}
    for row in sorted(means, key=lambda row: -means[row].mean):
        cells = (NOTHING, NOTHING)
        if row != baseline and baseline in found:
            cells = _gain(found[row], found[baseline])
        rows.append((row, f"{100 * means[row].mean:.1f}", *cells))
    headers = ("row", "mean", f"minus {baseline}, 95 % interval", "clear of zero")
    return Table(title, headers, tuple(rows)).without_empty_columns()


def differences(title: str, found: Mapping[str, Mapping[Any, float]], pairs: Sequence[tuple[str, str]]) -> Table:
    """Return the paired differences of rows, in percent, in the order in which they are asked for.

    Args:
        title: stands above the table.
        found: as for `against`.
        pairs: a row and the one that is subtracted from it.
    """
    rows = [(f"{row} minus {other}", *_gain(found[row], found[other])) for row, other in pairs]
    return Table(title, ("rows", "difference, 95 % interval", "clear of zero"), tuple(rows))


def _gain(row: Mapping[Any, float], other: Mapping[Any, float]) -> tuple[str, str]:
    gain = paired_difference(row, other)
    if math.isinf(gain.low):  # of one fold there is no interval
        return f"{100 * gain.mean:+.1f}", NOTHING
    interval = f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return interval, "yes" if gain.clear_of_zero else "no"
