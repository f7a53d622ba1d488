"""A series of experiments, each run once a fold, and the paired differences of its rows."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from kdmm import atomic, run
from kdmm import config as configuration
from kdmm.analysis import RunRecord, Speeds, against, differences
from kdmm.analysis.tables import NOTHING, Table
from kdmm.errors import InputError, nearest
from kdmm.runs.series import Series
from kdmm.runs.speed import measure_speed

__all__ = ["Comparison", "compare"]

TABLES, VALUES = "comparison.md", "comparison.csv"


@dataclass(frozen=True)
class Comparison:
    """What a series found.

    Args:
        tables: one a metric.
        values: each metric of each row by fold.
        folder: where both are written.
    """

    tables: tuple[Table, ...]
    values: Mapping[str, Mapping[str, Mapping[int, float]]]
    folder: Path

    def to_markdown(self) -> str:
        """Return the tables in Markdown."""
        return "\n\n".join(table.to_markdown() for table in self.tables)


def compare(
    series: str | Path,
    *,
    folds: Sequence[int] = (),
    rows: Sequence[str] = (),
    only_check: bool = False,
    speed: bool = True,
    allow: Sequence[str] = (),
) -> Comparison:
    """Run a series and compare its rows. What is finished is not repeated: an interrupted series goes on where it was.

    Writes ``comparison.md``, a table a metric with 95 % intervals of the paired differences from the baseline, and
    ``comparison.csv``, each value, to ``runs/<name>/``.

    Args:
        series: its YAML file.
        folds: instead of the file's.
        rows: only these, and those that they stand on.
        only_check: check every experiment and run none.
        speed: measure samples a second of one model of each row, which takes some seconds.
        allow: packages of your own that the configurations may build from.

    Raises:
        InputError: the series or one of its experiments is wrong, and nothing was run; or a run does not measure what
            is to be compared.
    """
    whole = Series.read(Path(series))
    plan = whole.chosen(rows) if rows else whole
    numbers = tuple(folds) or plan.folds
    for name, fold in product(plan.rows, numbers):
        configuration.load(plan.rows[name].config, plan.overrides(name, fold, run.ROOT), tuple(allow))
    if only_check:
        return Comparison((), {}, run.ROOT / plan.name)
    runs: dict[tuple[str, int], run.Run] = {}
    for fold, (name, row) in product(numbers, plan.rows.items()):
        overrides = plan.overrides(name, fold, run.ROOT)
        print(f"kdmm fit {row.config} {shlex.join(overrides)}", flush=True)
        done = runs[name, fold] = run.complete(row.config, overrides, allow=allow)
        for table, settings in plan.tables(name, fold, run.ROOT).items():
            if not (done.dir / table).is_file():
                print(f"kdmm generate {done.dir} --output {done.dir / table}", flush=True)
                run.generate(done.dir, output=done.dir / table, allow=allow, **settings)
        for metric in plan.metrics:
            if name in plan.measured(metric) and metric not in done.metrics:  # said before the next row is trained
                raise InputError(
                    f"{series}: metrics: {done.dir} has no {metric!r}; it measured {', '.join(done.metrics)}."
                    f"{nearest(metric, done.metrics)}"
                )
    compared = [name for name, row in plan.rows.items() if row.compared]
    values = {
        metric: {name: {fold: runs[name, fold].metrics[metric] for fold in numbers} for name in plan.measured(metric)}
        for metric in plan.metrics
    }
    records = {name: runs[name, numbers[0]].record for name in compared}
    speeds = measure_speed([runs[name, numbers[0]].dir for name in compared], allow=tuple(allow)) if speed else None
    tables = [_models(records, speeds or Speeds({}))]
    for metric, found in values.items():
        tables.append(against(f"{metric} in %, mean of {len(numbers)}", found, plan.baseline))
        pairs = [pair for pair in plan.differences if found.keys() >= set(pair)]
        if pairs:
            tables.append(differences(f"{metric}, further differences", found, pairs))
    comparison = Comparison(tuple(tables), values, run.ROOT / plan.name)
    with atomic.writing(comparison.folder / TABLES) as partial:
        partial.write_text(comparison.to_markdown() + "\n", encoding="utf-8")
    with atomic.writing(comparison.folder / VALUES) as partial:
        partial.write_text(_as_csv(values), encoding="utf-8")
    return comparison


def _models(records: Mapping[str, RunRecord], speeds: Speeds) -> Table:
    """Return what the rows' models are: size, and speed where it was measured."""
    rows = []
    for name, record in records.items():
        fast = map(_rounded, speeds.of(record.group).values())
        rows.append((name, f"{record.parameters.total / 1e6:.2f} M", f"{record.steps:,}", *fast))
    how = f" (samples/s: {speeds.how})" if speeds.how else ""
    headers = ("row", "parameters", "steps", "samples/s", "tokens/s greedy", f"tokens/s with {speeds.beams} beams")
    return Table(f"models{how}", headers, tuple(rows)).without_empty_columns()


def _rounded(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def _as_csv(values: Mapping[str, Mapping[str, Mapping[int, float]]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("metric", "row", "fold", "value"))
    for metric, rows in values.items():
        for row, folds in rows.items():
            writer.writerows((metric, row, fold, value) for fold, value in folds.items())
    return text.getvalue()
