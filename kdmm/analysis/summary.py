"""The columns of a report: what is taken from a run's record, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kdmm.analysis.intervals import Interval
from kdmm.analysis.record import RunRecord
from kdmm.analysis.tables import NOTHING, Table
from kdmm.metrics import retention

__all__ = ["COLUMNS", "MAIN_METRIC", "Column", "Rows", "Values", "percent", "table", "values"]

Values: TypeAlias = dict[str, float | None]
Rows: TypeAlias = Sequence[tuple[str, Mapping[str, float | Interval | None]]]
"""Names with their values, or with means and intervals."""

MAIN_METRIC = "recall@5"
"""What differences are of: the mean of both directions."""

ZERO_SHOT = {"image": "zero_shot", "audio": "zero_shot_audio"}
"""What zero-shot classification is called in the logs, by what is classified."""

RETAINED = {MAIN_METRIC: "R@5"} | {f"{name}/top1": f"{of} zero-shot top-1" for of, name in ZERO_SHOT.items()}
"""What retention is of, with its headers."""

PAIRS = (("image", "text"), ("audio", "text"), ("image", "audio"))
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


def _recalls(one: str, other: str) -> Column:
    direction = f"{one}→{other}"
    keys = {f"{one}_to_{other}/recall@{k}": f"{direction} R@{k}" for k in (1, 5, 10)}
    return Column(f"{direction} R@1 / 5 / 10", keys, percent)


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
    _single("R@5", MAIN_METRIC, percent),
    *(_recalls(*direction) for pair in PAIRS for direction in (pair, pair[::-1])),
    *(_median_ranks(*pair) for pair in PAIRS),
    *(_zero_shot(*each) for each in ZERO_SHOT.items()),
    Column("agreement@1 / 5", {f"agreement@{k}": f"agreement@{k}" for k in (1, 5)}, percent),
    *(_in_teachers_index(medium, "text") for medium in ("image", "audio")),
    *(_single(f"retention of {header}", f"retention/{key}", "{:.2f}".format) for key, header in RETAINED.items()),
)


def values(record: RunRecord, teacher: RunRecord | None, samples_per_s: float | None = None) -> Values:
    """Return all values of a run by key; ``None`` where the run has none.

    Args:
        record: the run.
        teacher: the run that its quality is held against, evaluated on the same data.
        samples_per_s: the speed of its model, if it was measured.
    """
    found: Values = {key: record.value(key) for column in COLUMNS for key in column.keys}
    found["parameters"] = float(record.parameters.total)
    found["size_bytes"] = float(record.size_bytes)
    found["samples_per_s"] = samples_per_s
    for key in RETAINED:
        own, other = found[key], teacher.value(key) if teacher else None
        if own is not None and other:
            found.update(retention({key: own}, {key: other}))
    return found


def table(title: str, rows: Rows, columns: Sequence[Column]) -> Table:
    """Write rows of values or intervals as a table, without the columns that no row has."""
    headers = ("run", *(column.header for column in columns))
    cells = tuple((name, *(column.cell(row) for column in columns)) for name, row in rows)
    return Table(title, headers, cells).without_empty_columns()
