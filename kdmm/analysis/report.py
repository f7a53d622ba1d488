"""A table of finished runs: teacher, students and baselines side by side."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Group, RenderableType
from rich.text import Text

from kdmm.analysis.evaluated import Evaluated, chance_recall, describe
from kdmm.analysis.intervals import Interval, mean_interval, paired_difference
from kdmm.analysis.record import FILE_NAME, RunRecord
from kdmm.analysis.summary import COLUMNS, MAIN_METRIC, Column, Values, values
from kdmm.analysis.tables import Table
from kdmm.errors import InputError

__all__ = ["Difference", "Report"]

LEGEND = (
    "R@k is recall at k in %, R@5 alone the mean of both directions; ranks count from 1; agreement is in %; retention "
    "is over the teacher's R@5."
)


Rows: TypeAlias = Sequence[tuple[str, Mapping[str, Any]]]
SINGLE_COLUMNS = tuple(single for column in COLUMNS for single in column.split())
RUNS_ACROSS = 5  # with one value a cell, this many runs fit into 100 characters


@dataclass(frozen=True)
class Difference:
    """How much better one experiment is than another, over the folds or seeds that both have.

    Args:
        first: the better one if the difference is positive.
        second: the other.
        interval: 95 % t-interval of the paired difference of R@5.
    """

    first: str
    second: str
    interval: Interval


class Report:
    """Compares runs.

    Runs of one experiment (see :attr:`RunRecord.group`) are repetitions over folds, or over seeds if there is one fold
    only. They are averaged with a 95 % t-interval over folds, each fold's seeds averaged before.

    Retention is held against the run named as a student's teacher; if that is not found, it is what the student's run
    itself measured beside its teacher. For a student without a teacher it is held against the one teacher run given
    that was evaluated on the same data.

    Args:
        records: the runs, in the order of the table.
        teachers: further runs that only serve as teachers for retention.

    Raises:
        InputError: no run, or one twice.
    """

    def __init__(self, records: Sequence[RunRecord], teachers: Sequence[RunRecord] = ()) -> None:
        if not records:
            raise InputError("There is no run to report. Give the folders of finished runs.")
        names = [record.name for record in records]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"The run {name!r} is given twice. Give each run once, and each a name of its own.")
        self.records = tuple(records)
        self._teachers = {record.name: record for record in (*teachers, *records)}

    @classmethod
    def from_runs(cls, folders: Sequence[Path]) -> Report:
        """Read the runs in these folders, and the teachers that they name, which may lie beside them.

        Raises:
            InputError: a folder holds no finished run.
        """
        records = [RunRecord.read(folder) for folder in folders]
        given = {record.name for record in records}
        teachers = {}
        for folder, record in zip(folders, records, strict=True):
            if record.teacher is None or record.teacher_name is None or record.teacher_name in given:
                continue
            for place in (Path(record.teacher), folder.resolve().parent / record.teacher_name):
                if (place / FILE_NAME).is_file():
                    teachers[record.teacher_name] = RunRecord.read(place)
        return cls(records, list(teachers.values()))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a run: its name, experiment, role, fold and seed, and its values by the names in the logs."""
        return [
            {
                "run": record.name,
                "experiment": record.group,
                "role": record.role,
                "fold": record.fold,
                "seed": record.seed,
                **self._values[record.name],
            }
            for record in self.records
        ]

    @cached_property
    def experiments(self) -> dict[str, dict[str, Interval]]:
        """The mean and interval of each value of each experiment; values that a run lacks are left out."""
        found: dict[str, dict[str, Interval]] = {}
        for name, records in self._groups.items():
            found[name] = {}
            for key in self._values[records[0].name]:
                by_unit = self._by_unit(records, key)
                if by_unit:
                    found[name][key] = mean_interval(list(by_unit.values()))
        return found

    @cached_property
    def differences(self) -> list[Difference]:
        """Every two experiments on students that share two or more folds or seeds: the later minus the earlier."""
        found = []
        students = {name: records for name, records in self._groups.items() if records[0].role == "student"}
        for earlier, later in combinations(students, 2):
            first, second = (self._by_unit(students[name], MAIN_METRIC) for name in (later, earlier))
            if len(first.keys() & second.keys()) > 1:
                found.append(Difference(later, earlier, paired_difference(first, second)))
        return found

    @property
    def opening(self) -> str:
        """What was compared on which data, and what guessing would reach."""
        evaluated = {Evaluated.of(record) for record in self.records}
        if not self._same_data:
            return "These runs were NOT evaluated on the same data, so the table does not compare them:"
        sentence = f"Compared on {describe(evaluated)}."
        images = statistics.fmean(each.images for each in evaluated)
        captions = statistics.fmean(each.captions for each in evaluated)
        if not images or not captions:
            return sentence
        to_text = chance_recall(5, captions, captions / images)
        to_image = chance_recall(5, images, 1.0)
        return f"{sentence} A random ranking has R@5 {to_text:.1%} image→text and {to_image:.1%} text→image."

    @property
    def remarks(self) -> list[str]:
        """What a reader must know before comparing: differing data, missing teachers."""
        found = []
        if not self._same_data:
            for name, records in self._groups.items():
                found.append(f"{name}: {describe({Evaluated.of(record) for record in records})}.")
        for record in self.records:
            if record.teacher_name is None or self._values[record.name][f"retention/{MAIN_METRIC}"] is not None:
                continue
            teacher = self._teachers.get(record.teacher_name)
            if teacher is None:
                found.append(f"{record.name}: no retention, since its teacher's run {record.teacher!r} was not found.")
            elif Evaluated.of(teacher) != Evaluated.of(record):
                other = describe([Evaluated.of(teacher)])
                found.append(f"{record.name}: no retention, since its teacher was evaluated on other data, {other}.")
        return found

    @property
    def descriptions(self) -> list[str]:
        """What each experiment is, in its runs' own words."""
        found = dict.fromkeys((record.group, record.description) for record in self.records if record.description)
        return [f"{group}: {description}" for group, description in found]

    @property
    def tables(self) -> list[Table]:
        """The tables: experiments and their differences if any experiment has several runs, and each run."""
        if self._single_runs:
            return [_table("Runs", self._runs, COLUMNS)]
        found = [_table(self._experiments_title, self._experiment_rows, COLUMNS)]
        if self.differences:
            found.append(_difference_table(self.differences, self._unit))
        return [*found, _table("Each run", self._runs, COLUMNS)]

    def to_markdown(self) -> str:
        """Return the report as Markdown."""
        tables = [table.to_markdown() for table in self.tables]
        parts = [self.opening, _bullets(self.remarks), *tables, LEGEND, _bullets(self.descriptions)]
        return "\n\n".join(part for part in parts if part)

    def to_rich(self) -> RenderableType:
        """Return the report for a terminal: values in rows, and of repeated runs the experiments only."""
        title, rows = ("Runs", self._runs) if self._single_runs else (self._experiments_title, self._experiment_rows)
        blocks = [rows[start : start + RUNS_ACROSS] for start in range(0, len(rows), RUNS_ACROSS)]
        tables = [_table(title, block, SINGLE_COLUMNS).transposed() for block in blocks]
        if self.differences:
            tables.append(_difference_table(self.differences, self._unit))
        return Group(
            Text(self.opening, style="" if self._same_data else "bold red"),
            *([Text(_bullets(self.remarks), style="yellow")] if self.remarks else []),
            Text(),
            *(table.to_rich() for table in tables),
            Text("\n".join([LEGEND, *self.descriptions]), style="dim"),
        )

    @cached_property
    def _groups(self) -> dict[str, list[RunRecord]]:
        groups: dict[str, list[RunRecord]] = {}
        for record in self.records:
            groups.setdefault(record.group, []).append(record)
        return groups

    @cached_property
    def _values(self) -> dict[str, Values]:
        return {record.name: values(record, self._teacher_of(record)) for record in self.records}

    @property
    def _single_runs(self) -> bool:
        return len(self._groups) == len(self.records)

    @property
    def _runs(self) -> Rows:
        return [(record.name, self._values[record.name]) for record in self.records]

    @property
    def _experiment_rows(self) -> Rows:
        return list(self.experiments.items())

    @property
    def _experiments_title(self) -> str:
        counts = sorted({len(self._units(records)) for records in self._groups.values()})
        number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return f"Experiments: mean ± 95 % t-interval over {number} {self._unit}"

    @property
    def _unit(self) -> str:
        return "folds" if self._over_folds else "seeds"

    @property
    def _same_data(self) -> bool:
        return len({frozenset(Evaluated.of(record) for record in records) for records in self._groups.values()}) == 1

    @property
    def _over_folds(self) -> bool:
        return len({record.fold for record in self.records}) > 1

    def _units(self, records: Sequence[RunRecord]) -> set[int | None]:
        return {record.fold if self._over_folds else record.seed for record in records}

    def _by_unit(self, records: Sequence[RunRecord], key: str) -> Mapping[Any, float]:
        """Return the mean value of each fold, or of each seed; empty if a run lacks it."""
        by_unit: dict[int | None, list[float]] = {}
        for record in records:
            value = self._values[record.name][key]
            if value is None:
                return {}
            by_unit.setdefault(record.fold if self._over_folds else record.seed, []).append(value)
        return {unit: statistics.fmean(found) for unit, found in by_unit.items()}

    def _teacher_of(self, record: RunRecord) -> RunRecord | None:
        if record.role != "student":
            return None
        same_data = [
            teacher
            for teacher in self._teachers.values()
            if teacher.role == "teacher" and Evaluated.of(teacher) == Evaluated.of(record)
        ]
        if record.teacher_name is not None:
            return next((teacher for teacher in same_data if teacher.name == record.teacher_name), None)
        return same_data[0] if len(same_data) == 1 else None


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(title: str, rows: Rows, columns: Sequence[Column]) -> Table:
    headers = ("run", *(column.header for column in columns))
    cells = tuple((name, *(column.cell(row) for column in columns)) for name, row in rows)
    return Table(title, headers, cells).without_empty_columns()


def _difference_table(differences: Sequence[Difference], unit: str) -> Table:
    rows = tuple(
        (
            f"{difference.first} - {difference.second}",
            f"{100 * difference.interval.mean:+.1f}",
            f"{100 * difference.interval.low:+.1f} to {100 * difference.interval.high:+.1f}",
            "yes" if difference.interval.clear_of_zero else "no",
            str(difference.interval.count),
        )
        for difference in differences
    )
    headers = ("difference of R@5, points", "mean", "95 % interval", "clear of zero", unit)
    return Table(f"Differences, paired by {unit[:-1]}", headers, rows)
