"""A table of finished runs: teacher, students and baselines side by side."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from kdmm.analysis.evaluated import Evaluated, chance_recall, describe
from kdmm.analysis.experiments import Experiments
from kdmm.analysis.record import FILE_NAME, RunRecord
from kdmm.analysis.summary import Rows, columns, further, header_of, main_metric, table, values
from kdmm.analysis.throughput import Speeds
from kdmm.errors import InputError

__all__ = ["Report"]

LEGEND = "R@k is recall at k in %, R@5 alone the mean of both directions; ranks count from 1; agreement is in %"
FURTHER_LEGEND = "other metrics have their names in the logs and are times 100"
RUNS_ACROSS = 5  # with one value a cell, this many runs fit into 100 characters


class Report:
    """Compares runs; those of one experiment are averaged (see :class:`Experiments`).

    Retention is held against the run named as a student's teacher; if that is not found, it is what the student's run
    itself measured beside its teacher. For a student without a teacher it is held against the one teacher run given
    that was evaluated on the same data.

    Args:
        records: the runs, in the order of the table.
        teachers: further runs that only serve as teachers for retention.
        speeds: of one model of each experiment; ``None`` for a report without speed.

    Raises:
        InputError: no run, or one twice, or one that was never evaluated.
    """

    def __init__(
        self, records: Sequence[RunRecord], teachers: Sequence[RunRecord] = (), speeds: Speeds | None = None
    ) -> None:
        if not records:
            raise InputError("There is no run to report. Give the folders of finished runs.")
        names = [record.name for record in records]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"The run {name!r} is given twice. Give each run once, and each a name of its own.")
        self.records = tuple(records)
        self.speeds = Speeds({}) if speeds is None else speeds
        self._teachers = {record.name: record for record in (*teachers, *records)}
        self._data = {record.name: Evaluated.of(record) for record in (*teachers, *records)}
        self.main = main_metric(records)
        self.columns = columns(records)
        self._values = {
            record.name: values(record, self._teacher_of(record), self.columns, self.speeds.of(record.group))
            for record in records
        }
        self.experiments = Experiments(records, self._values, self.main)

    @classmethod
    def from_runs(cls, folders: Sequence[Path], speeds: Speeds | None = None) -> Report:
        """Read the runs in these folders, and the teachers that they name, which may lie beside them.

        Raises:
            InputError: a folder holds no finished run.
        """
        records = [RunRecord.read(folder) for folder in folders]
        teachers = {}
        for folder, record in zip(folders, records, strict=True):
            if record.teacher is None or any(record.was_taught_by(each.name) for each in records):
                continue
            for place in (Path(record.teacher), folder.resolve().parent / Path(record.teacher).name):
                if (place / FILE_NAME).is_file():
                    teacher = RunRecord.read(place)
                    teachers[teacher.name] = teacher
        return cls(records, list(teachers.values()), speeds)

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

    @property
    def opening(self) -> str:
        """What was compared on which data, and what guessing would reach."""
        evaluated = {self._data[record.name] for record in self.records}
        if not self._same_data:
            return "These runs were NOT evaluated on the same data, so the table does not compare them:"
        sentence = f"Compared on {describe(evaluated)}."
        media = statistics.fmean(each.media for each in evaluated)
        captions = statistics.fmean(each.captions for each in evaluated)
        if not media or not captions:
            return sentence
        medium = next(iter(evaluated)).medium
        to_text = chance_recall(5, captions, captions / media)
        back = chance_recall(5, media, 1.0)
        return f"{sentence} A random ranking has R@5 {to_text:.1%} {medium}→text and {back:.1%} text→{medium}."

    @property
    def remarks(self) -> list[str]:
        """What a reader must know before comparing: differing data, missing teachers, speeds not measured."""
        found = []
        if not self._same_data:
            for name, records in self.experiments.groups.items():
                found.append(f"{name}: {describe({self._data[record.name] for record in records})}.")
        for record in self.records:
            if record.teacher is None or self._values[record.name][f"retention/{self.main}"] is not None:
                continue
            teacher = self._named_by(record, self._teachers.values())
            if teacher is None:
                found.append(f"{record.name}: no retention, since its teacher's run {record.teacher!r} was not found.")
            elif self._data[teacher.name] != self._data[record.name]:
                other = describe([self._data[teacher.name]])
                found.append(f"{record.name}: no retention, since its teacher was evaluated on other data, {other}.")
        return [*found, *self.speeds.remarks]

    @property
    def legend(self) -> str:
        """What the columns are."""
        others = [FURTHER_LEGEND] if further(self.records) else []
        legend = "; ".join([LEGEND, *others, f"retention is over the teacher's {header_of(self.main)}."])
        return f"{legend} {self.speeds.legend}" if self.speeds.samples_per_s else legend

    @property
    def descriptions(self) -> list[str]:
        """What each experiment is, in its runs' own words."""
        found = dict.fromkeys((record.group, record.description) for record in self.records if record.description)
        return [f"{group}: {description}" for group, description in found]

    def to_markdown(self) -> str:
        """Return the report as Markdown: experiments and their differences if any is repeated, and each run."""
        tables = [table("Runs" if self._single_runs else "Each run", self._runs, self.columns)]
        if not self._single_runs:
            tables = [table(self.experiments.title, self._means, self.columns), *self.experiments.tables, *tables]
        texts = [each.to_markdown() for each in tables]
        parts = [self.opening, _bullets(self.remarks), *texts, self.legend, _bullets(self.descriptions)]
        return "\n\n".join(part for part in parts if part)

    def to_rich(self) -> RenderableType:
        """Return the report for a terminal: values in rows, and of repeated runs the experiments only."""
        title, rows = ("Runs", self._runs) if self._single_runs else (self.experiments.title, self._means)
        blocks = [rows[start : start + RUNS_ACROSS] for start in range(0, len(rows), RUNS_ACROSS)]
        singles = [single for column in self.columns for single in column.split()]
        tables = [table(title, block, singles).transposed() for block in blocks]
        return Group(
            Text(self.opening, style="" if self._same_data else "bold red"),
            *([Text(_bullets(self.remarks), style="yellow")] if self.remarks else []),
            Text(),
            *(each.to_rich() for each in (*tables, *self.experiments.tables)),
            Text("\n".join([self.legend, *self.descriptions]), style="dim"),
        )

    @property
    def _single_runs(self) -> bool:
        return not self.experiments.repeated

    @property
    def _runs(self) -> Rows:
        return [(record.name, self._values[record.name]) for record in self.records]

    @property
    def _means(self) -> Rows:
        return list(self.experiments.intervals.items())

    @property
    def _same_data(self) -> bool:
        groups = self.experiments.groups.values()
        return len({frozenset(self._data[record.name] for record in records) for records in groups}) == 1

    @staticmethod
    def _named_by(record: RunRecord, runs: Iterable[RunRecord]) -> RunRecord | None:
        """Return the run that a student names as its teacher's: of several, the one whose name says most."""
        found = [each for each in runs if record.was_taught_by(each.name)]
        return max(found, key=lambda each: len(each.name), default=None)

    def _teacher_of(self, record: RunRecord) -> RunRecord | None:
        if record.role != "student":
            return None
        same_data = [
            teacher
            for teacher in self._teachers.values()
            if teacher.role == "teacher" and self._data[teacher.name] == self._data[record.name]
        ]
        if record.teacher is not None:
            return self._named_by(record, same_data)
        return same_data[0] if len(same_data) == 1 else None


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
