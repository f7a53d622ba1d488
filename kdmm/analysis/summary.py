"""The columns of a report: what is taken from a run's record, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kdmm.analysis.intervals import Interval
from kdmm.analysis.record import RunRecord
from kdmm.analysis.tables import NOTHING, Table

__all__ = ["Column", "Rows", "Values", "columns", "further", "header_of", "main_metric", "percent", "table", "values"]

Values: TypeAlias = dict[str, float | None]
Rows: TypeAlias = Sequence[tuple[str, Mapping[str, float | Interval | None]]]
"""Names with their values, or with means and intervals."""

RETRIEVAL = "recall@5"
"""The main metric of runs that measure retrieval: the mean of both directions."""

RETENTION = "retention/"

FURTHER = re.compile(r"(beam\d+/)?(?!loss$|recall@)[^/]+")
"""Metrics of one value, and of what is written with beams; not what is of one class alone."""

ZERO_SHOT = {"image": "zero_shot", "audio": "zero_shot_audio", "video": "zero_shot_video"}
"""What zero-shot classification is called in the logs, by what is classified."""

RETAINED = {RETRIEVAL: "R@5"} | {f"{name}/top1": f"{of} zero-shot top-1" for of, name in ZERO_SHOT.items()}
"""What retention is of, with its headers."""

PAIRS = (("image", "text"), ("audio", "text"), ("video", "text"), ("image", "audio"))
"""What is searched with, and what for; and the other way round."""


def percent(value: float) -> str:
    """Write a share in per cent."""
    return f"{100 * value:.1f}"


def _millions(value: float) -> str:
    return f"{value / 1e6:.2f}".rstrip("0").rstrip(".") if value < 1e7 else f"{value / 1e6:.1f}"


@dataclass(frozen=True)
class Column:
    """A column of a report; several values share a cell, as in ``11.6 / 24.4 / 33.0``.

    Args:
        header: above it.
        keys: of the values in a cell, each with the header that it has alone.
        write: from a value to text.
        varies: from run to run of an experiment, so that an interval belongs to it.
    """

    header: str
    keys: Mapping[str, str]
    write: Callable[[float], str]
    varies: bool = True

    def split(self) -> tuple[Column, ...]:
        """Return a column for each value."""
        return tuple(Column(header, {key: header}, self.write, self.varies) for key, header in self.keys.items())

    def cell(self, row: Mapping[str, float | Interval | None]) -> str:
        """Return the cell of a row of values or intervals."""
        texts = [self._text(row.get(key)) for key in self.keys]
        return NOTHING if set(texts) == {NOTHING} else " / ".join(texts)

    def _text(self, value: float | Interval | None) -> str:
        if value is None:
            return NOTHING
        if not isinstance(value, Interval):
            return self.write(value)
        if value.count == 1 or not self.varies:
            return self.write(value.mean)
        return f"{self.write(value.mean)}±{self.write(value.half_width)}"


def _single(header: str, key: str, write: Callable[[float], str], varies: bool = True) -> Column:
    return Column(header, {key: header}, write, varies)


def _recalls(header: str, name: str) -> Column:
    keys = {f"{name}/recall@{k}": f"{header} R@{k}" for k in (1, 5, 10)}
    return Column(f"{header} R@1 / 5 / 10", keys, percent)


def _median_ranks(one: str, other: str) -> Column:
    directions = {f"{a}_to_{b}/median_rank": f"{a}→{b}" for a, b in ((one, other), (other, one))}
    header = f"median rank {' / '.join(directions.values())}"
    keys = {key: f"median rank {direction}" for key, direction in directions.items()}
    return Column(header, keys, lambda rank: f"{rank:.1f}".removesuffix(".0"))


def _zero_shot(of: str, name: str) -> Column:
    header = f"{of} zero-shot top-"
    return Column(f"{header}1 / 5", {f"{name}/top{k}": f"{header}{k}" for k in (1, 5)}, percent)


def _in_teachers_index(one: str, other: str) -> Column:
    return _single(f"student {one}→teacher {other} R@5", f"student_{one}_to_teacher_{other}/recall@5", percent)


COLUMNS = (
    _single("parameters (M)", "parameters", _millions, varies=False),
    _single("size (MB)", "size_bytes", _millions, varies=False),
    _single("samples/s", "samples_per_s", "{:,.0f}".format, varies=False),
    Column(
        "tokens/s greedy / with beams",
        {"tokens_per_s": "tokens/s greedy", "beam_tokens_per_s": "tokens/s with beams"},
        "{:,.0f}".format,
        varies=False,
    ),
    _single("R@5", RETRIEVAL, percent),
    *(_recalls(f"{a}→{b}", f"{a}_to_{b}") for pair in PAIRS for a, b in (pair, pair[::-1])),
    *(_median_ranks(*pair) for pair in PAIRS),
    *(_zero_shot(*each) for each in ZERO_SHOT.items()),
    Column("agreement@1 / 5", {f"agreement@{k}": f"agreement@{k}" for k in (1, 5)}, percent),
    *(_in_teachers_index(medium, "text") for medium in ZERO_SHOT),
    _recalls("own caption", "own_caption"),
)


def further(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """Return the metrics of these runs that `COLUMNS` has no place for, in the order of the logs."""
    known = {key for column in COLUMNS for key in column.keys}
    names = dict.fromkeys(name for record in records for name in record.measured)
    return tuple(name for name in names if name not in known and FURTHER.fullmatch(name))


def main_metric(records: Sequence[RunRecord]) -> str:
    """Return what differences and retention are of: R@5 where it was measured, else the first metric of all runs."""
    if any(record.value(RETRIEVAL) is not None for record in records):
        return RETRIEVAL
    shared = (name for name in further(records) if all(record.value(name) is not None for record in records))
    return next(shared, RETRIEVAL)


def header_of(metric: str) -> str:
    """Return what a metric is called above its column."""
    return RETAINED.get(metric, metric)


def columns(records: Sequence[RunRecord]) -> tuple[Column, ...]:
    """Return the columns of a report of these runs; some may be empty."""
    retained = dict.fromkeys((main_metric(records), *RETAINED))
    return (
        *COLUMNS,
        *(_single(name, name, percent) for name in further(records)),
        *(_single(f"retention of {header_of(name)}", f"{RETENTION}{name}", "{:.2f}".format) for name in retained),
    )


def values(
    record: RunRecord, teacher: RunRecord | None, columns: Sequence[Column], speeds: Mapping[str, float | None]
) -> Values:
    """Return all values of a run by key; ``None`` where the run has none.

    Args:
        record: the run.
        teacher: the run that its quality is held against, evaluated on the same data.
        columns: what is wanted.
        speeds: of its model, by key, if they were measured.
    """
    found: Values = {key: record.value(key) for column in columns for key in column.keys}
    found["parameters"] = float(record.parameters.total)
    found["size_bytes"] = float(record.size_bytes)
    found.update(speeds)
    for key in [key.removeprefix(RETENTION) for key in found if key.startswith(RETENTION)]:
        own = record.value(key)
        other = teacher.value(key) if teacher else record.value(f"teacher/{key}")
        if own is not None and other:
            found[f"{RETENTION}{key}"] = own / other
    return found


def table(title: str, rows: Rows, columns: Sequence[Column]) -> Table:
    """Write rows of values or intervals as a table, without the columns that no row has."""
    headers = ("run", *(column.header for column in columns))
    cells = tuple((name, *(column.cell(row) for column in columns)) for name, row in rows)
    return Table(title, headers, cells).without_empty_columns()
