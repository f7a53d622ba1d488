"""Runs as repetitions of experiments: their means, intervals and differences."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from kdmm.analysis.intervals import Interval, mean_interval, paired_difference
from kdmm.analysis.record import RunRecord
from kdmm.analysis.summary import Values, header_of
from kdmm.analysis.tables import Table

__all__ = ["Difference", "Experiments"]


@dataclass(frozen=True)
class Difference:
    """How much better one experiment is than another, over the folds or seeds that both have.

    Args:
        first: the better one if the difference is positive.
        second: the other.
        interval: 95 % t-interval of the paired difference of the main metric.
    """

    first: str
    second: str
    interval: Interval

    @property
    def row(self) -> tuple[str, ...]:
        """Its row in a table, in percentage points."""
        return (
            f"{self.first} - {self.second}",
            f"{100 * self.interval.mean:+.1f}",
            f"{100 * self.interval.low:+.1f} to {100 * self.interval.high:+.1f}",
            "yes" if self.interval.clear_of_zero else "no",
            str(self.interval.count),
        )


class Experiments:
    """Groups runs by :attr:`RunRecord.group`: repetitions over folds, or over seeds if there is one fold only.

    They are averaged with a 95 % t-interval over folds, each fold's seeds averaged before.

    Args:
        records: the runs.
        values: of each run, by its name.
        main: the metric that differences are of.
    """

    def __init__(self, records: Sequence[RunRecord], values: Mapping[str, Values], main: str) -> None:
        self.values = values
        self.main = main
        self.groups: dict[str, list[RunRecord]] = {}
        for record in records:
            self.groups.setdefault(record.group, []).append(record)
        self.over_folds = len({record.fold for record in records}) > 1
        self.repeated = len(self.groups) < len(records)

    @property
    def unit(self) -> str:
        """What they are repeated over."""
        return "folds" if self.over_folds else "seeds"

    @property
    def title(self) -> str:
        """What the means are over."""
        counts = sorted({len({self._unit_of(record) for record in records}) for records in self.groups.values()})
        number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return f"Experiments: mean ± 95 % t-interval over {number} {self.unit}"

    @cached_property
    def intervals(self) -> dict[str, dict[str, Interval]]:
        """The mean and interval of each value of each experiment; values that a run lacks are left out."""
        found: dict[str, dict[str, Interval]] = {}
        for name, records in self.groups.items():
            found[name] = {}
            for key in self.values[records[0].name]:
                by_unit = self._by_unit(records, key)
                if by_unit:
                    found[name][key] = mean_interval(list(by_unit.values()))
        return found

    @cached_property
    def differences(self) -> list[Difference]:
        """Every two experiments on students that share two or more folds or seeds: the later minus the earlier."""
        found = []
        students = {name: records for name, records in self.groups.items() if records[0].role == "student"}
        for earlier, later in combinations(students, 2):
            first, second = (self._by_unit(students[name], self.main) for name in (later, earlier))
            if len(first.keys() & second.keys()) > 1:
                found.append(Difference(later, earlier, paired_difference(first, second)))
        return found

    @property
    def tables(self) -> list[Table]:
        """The differences as a table, if there are any."""
        headers = (f"difference of {header_of(self.main)}, points", "mean", "95 % interval", "clear of zero", self.unit)
        rows = tuple(each.row for each in self.differences)
        return [Table(f"Differences, paired by {self.unit[:-1]}", headers, rows)] if rows else []

    def _by_unit(self, records: Sequence[RunRecord], key: str) -> Mapping[Any, float]:
        """Return the mean value of each fold, or of each seed; empty if a run lacks it."""
        by_unit: dict[int | None, list[float]] = {}
        for record in records:
            value = self.values[record.name][key]
            if value is None:
                return {}
            by_unit.setdefault(self._unit_of(record), []).append(value)
        return {unit: statistics.fmean(found) for unit, found in by_unit.items()}

    def _unit_of(self, record: RunRecord) -> int | None:
        return record.fold if self.over_folds else record.seed
