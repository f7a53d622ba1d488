"""A run's final numbers: what ``metrics.json`` holds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kdmm.errors import InputError

__all__ = ["FILE_NAME", "DataRecord", "ParameterCount", "RunRecord"]

FILE_NAME = "metrics.json"
ROLES = ("teacher", "student")
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
    """

    source: str
    samples: int
    fold: int | None = None


@dataclass(frozen=True)
class RunRecord:
    """The final numbers of one run.

    Args:
        name: the run's name, which is its folder's.
        role: ``teacher`` or ``student``: what was trained.
        split: that was evaluated; ``metrics`` of it begin with its name.
        metrics: by the names in the logs, such as ``test/image_to_text/recall@5``.
        parameters: of the trained model.
        size_bytes: of the trained model's file.
        data: that was evaluated.
        seed: of the run.
        steps: optimizer steps taken.
        wall_time_s: of the whole run.
        images_per_s: the model's speed; ``None`` if not measured.
        teacher: the name or folder of the run that its teacher came from; ``None`` without a teacher.
        experiment: shared by runs that differ by seed or fold alone; ``None`` takes the name without ``-fold3`` and
            ``-seed2`` at its end.
        description: one line for readers.
        versions: of the packages, by name.
    """

    name: str
    role: str
    split: str
    metrics: Mapping[str, float]
    parameters: ParameterCount
    size_bytes: int
    data: DataRecord
    seed: int
    steps: int
    wall_time_s: float
    images_per_s: float | None = None
    teacher: str | None = None
    experiment: str | None = None
    description: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The experiment that this run repeats."""
        return self.experiment or SUFFIX.sub("", self.name)

    @property
    def fold(self) -> int | None:
        """The fold, of the data or else of the name."""
        named = FOLD.search(self.name)
        return self.data.fold if self.data.fold is not None or named is None else int(named[1])

    @property
    def teacher_name(self) -> str | None:
        """The name of the run that its teacher came from."""
        return None if self.teacher is None else Path(self.teacher).name

    def value(self, metric: str) -> float | None:
        """Return a metric of the evaluated split by its name without the split; ``None`` if it is missing or NaN."""
        value = self.metrics.get(f"{self.split}/{metric}", math.nan)
        return None if math.isnan(value) else value

    def write(self, folder: Path) -> Path:
        """Write ``metrics.json`` into a run's folder, whole or not at all, and return its path."""
        tree = asdict(self)
        tree["metrics"] = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        path = folder / FILE_NAME
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_text(json.dumps(tree, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
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
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        if not isinstance(tree, dict):
            raise _damaged(path, f"it holds {type(tree).__name__} where an object is expected")
        return _Reader(path, tree).record()


class _Reader:
    """Takes checked values out of a decoded ``metrics.json``."""

    def __init__(self, path: Path, tree: dict[str, Any]) -> None:
        self.path = path
        self.tree = tree

    def record(self) -> RunRecord:
        if self.tree.get("data") == {}:
            raise InputError(
                f"{self.path} holds no evaluation, since the run has no validation split. Measure it with "
                f"`kdmm evaluate {self.path.parent}`."
            )
        role = self.take("role", str)
        if role not in ROLES:
            raise _damaged(self.path, f"role is {role!r}, not one of {', '.join(ROLES)}")
        metrics = {}
        for name, value in self.take("metrics", dict).items():
            if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
                raise _damaged(self.path, f"metrics.{name} is {value!r}, not a number")
            metrics[name] = math.nan if value is None else float(value)
        speed = self.take("images_per_s", int, float, type(None))
        return RunRecord(
            name=self.take("name", str),
            role=role,
            split=self.take("split", str),
            metrics=metrics,
            parameters=ParameterCount(self.take("parameters.total", int), self.take("parameters.trained", int)),
            size_bytes=self.take("size_bytes", int),
            data=DataRecord(
                self.take("data.source", str), self.take("data.samples", int), self.take("data.fold", int, type(None))
            ),
            seed=self.take("seed", int),
            steps=self.take("steps", int),
            wall_time_s=float(self.take("wall_time_s", int, float)),
            images_per_s=None if speed is None else float(speed),
            teacher=self.take("teacher", str, type(None)),
            experiment=self.take("experiment", str, type(None)),
            description=self.take("description", str, type(None)) or "",
            versions={name: str(version) for name, version in self.take("versions", dict).items()},
        )

    def take(self, name: str, *kinds: type) -> Any:
        """Return the value at a dotted name; one that may be ``None`` may be left out."""
        value: Any = self.tree
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                if type(None) in kinds:
                    return None
                raise _damaged(self.path, f"it has no {name!r}")
            value = value[part]
        if isinstance(value, bool) or not isinstance(value, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
            raise _damaged(self.path, f"{name} is {value!r}, not {wanted}")
        return value


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged: {why}. Run it again with `--overwrite`, or leave this run out.")
