"""The run's ``metrics.csv``: a row a logged step, continued where a resumed run continues."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from kdmm import atomic

__all__ = ["MetricsCsv"]


class MetricsCsv(Logger):
    """Writes ``metrics.csv``.

    Lightning's own CSVLogger deletes the file of a run that is resumed; this one keeps the rows before the step from
    which the run goes on.

    Args:
        folder: the run's.
        resumed_step: the optimizer step from which the run goes on; rows from it onwards are dropped.
    """

    def __init__(self, folder: str, resumed_step: int = 0) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: list[dict[str, Any]] = []
        self.columns: list[str] = ["epoch", "step"]
        self.unwritten = 0
        if resumed_step and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                kept = [row for row in reader if int(row["step"]) < resumed_step]
                self.columns = list(reader.fieldnames or self.columns)
            self.rows = [{name: value for name, value in row.items() if value != ""} for row in kept]
            self._rewrite()

    @property
    def name(self) -> str:
        """Return the logger's name."""
        return "csv"

    @property
    def version(self) -> str:
        """Return an empty version: a run has one file."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row, or to the last one if it is of the same step."""
        row = {"step": step or 0, **{name: float(value) for name, value in metrics.items()}}
        row["epoch"] = int(row.get("epoch", 0))
        if (
            self.unwritten
            and self.rows[-1]["step"] == row["step"]
            and not set(row) & set(self.rows[-1]) - {"step", "epoch"}
        ):
            self.rows[-1].update(row)
        else:
            self.rows.append(row)
            self.unwritten += 1

    @rank_zero_only
    def save(self) -> None:
        """Write what is not written yet."""
        if not self.unwritten:
            return
        new = sorted({name for row in self.rows[-self.unwritten :] for name in row} - set(self.columns))
        if new or not self.path.is_file():
            self.columns += new
            self._rewrite()
        else:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerows(self.rows[-self.unwritten :])
        self.unwritten = 0

    def _rewrite(self) -> None:
        with atomic.writing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the rest."""
        self.save()
