"""A run's final numbers: what ``metrics.json`` holds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kdmm import atomic
from kdmm.analysis.decode import decoded
from kdmm.errors import InputError

__all__ = ["FILE_NAME", "DataRecord", "ParameterCount", "RunRecord"]

FILE_NAME = "metrics.json"
SUFFIX = re.compile(r"(-(?:fold|seed)\d+)+$")
FOLD = re.compile(r"-fold(\d+)")


@dataclass(frozen=True)
class ParameterCount:
    """How many parameters a model has.

    Args:
        total: all of them.
        trained: those that this run trained.
    """

    total: int
    trained: int


@dataclass(frozen=True)
class DataRecord:
    """What a run was evaluated on.

    Args:
        source: its name.
        samples: how many.
        fold: which rotation of the split; ``None`` if there is one only.
        counts: of what else the split holds, such as ``images`` and ``captions``.
    """

    source: str
    samples: int
    fold: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> DataRecord:
        """Return the record of what a DataModule's ``describe`` says of a split."""
        source, samples, fold = (description.get(name) for name in ("source", "samples", "fold"))
        counts = {
            name: value
            for name, value in description.items()
            if isinstance(value, int) and name not in ("samples", "fold")
        }
        return cls(str(source), int(samples or 0), fold, counts)


@dataclass(frozen=True)
class RunRecord:
    """The final numbers of one run, as ``metrics.json`` holds them.

    Args:
        name: the run's name, which is its folder's.
        role: ``teacher`` or ``student``: what was trained.
        split: that was evaluated; ``metrics`` of it begin with its name.
        metrics: by the names in the logs, such as ``test/image_to_text/recall@5``; NaN, null in the file, for one that
            does not exist.
        parameters: of the trained model.
        size_bytes: of the trained model's file.
        data: that was evaluated; ``None`` if nothing was, for want of a validation split.
        seed: of the run.
        steps: optimizer steps taken.
        wall_time_s: of the command that finished the run.
        teacher: the name or folder of the run that its teacher came from; ``None`` without a teacher.
        experiment: shared by runs that differ by seed or fold alone; ``None`` takes the name without ``-fold3`` and
            ``-seed2`` at its end.
        description: one line for readers.
        versions: of the packages, by name.
    """

    name: str
    role: Literal["teacher", "student"]
    split: str
    metrics: Mapping[str, float]
    parameters: ParameterCount
    size_bytes: int
    data: DataRecord | None
    seed: int
    steps: int
    wall_time_s: float
    teacher: str | None = None
    experiment: str | None = None
    description: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The experiment that this run repeats."""
        return self.experiment or SUFFIX.sub("", self.name)

    @property
    def evaluated(self) -> DataRecord:
        """The data that was evaluated.

        Raises:
            InputError: nothing was.
        """
        if self.data is None:
            raise InputError(
                f"The run {self.name!r} holds no evaluation, since it has no validation split. Measure it with "
                f"`kdmm evaluate runs/{self.name}`."
            )
        return self.data

    @property
    def fold(self) -> int | None:
        """The fold, of the data or else of the name."""
        of_data, named = None if self.data is None else self.data.fold, FOLD.search(self.name)
        return of_data if of_data is not None or named is None else int(named[1])

    def was_taught_by(self, name: str) -> bool:
        """Whether its teacher came from the run of this name, which may hold slashes as the folder does."""
        return self.teacher is not None and f"/{Path(self.teacher).as_posix()}".endswith(f"/{name}")

    def value(self, metric: str) -> float | None:
        """Return a metric of the evaluated split by its name without the split; ``None`` if it is missing or NaN."""
        value = self.metrics.get(f"{self.split}/{metric}", math.nan)
        return None if math.isnan(value) else value

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics of the evaluated split, by their names without the split."""
        start = f"{self.split}/"
        return tuple(name.removeprefix(start) for name in self.metrics if name.startswith(start))

    def write(self, folder: Path) -> Path:
        """Write ``metrics.json`` into a run's folder, whole or not at all, and return its path."""
        metrics = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        text = json.dumps({**asdict(self), "metrics": metrics}, indent=2, allow_nan=False)
        path = folder / FILE_NAME
        with atomic.writing(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read ``metrics.json`` of a run's folder.

        Raises:
            InputError: there is none, or it is damaged; the message names the file.
        """
        path = folder / FILE_NAME
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder. Give the folder of a finished run.")
        if not path.is_file():
            raise InputError(f"{path} is missing: the run has not finished. Finish it with `kdmm fit ... --resume`.")
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(tree, dict) and isinstance(tree.get("metrics"), dict):
                metrics = {name: math.nan if value is None else value for name, value in tree["metrics"].items()}
                tree = {**tree, "metrics": metrics}
            return decoded(cls, tree)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} is damaged: {error}. Run it again with `--overwrite`, or leave this run out."
            ) from error
