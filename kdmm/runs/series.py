"""What a series says: experiments by name, over folds or seeds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdmm.config.files import read_with_base
from kdmm.errors import InputError, nearest
from kdmm.runs.places import filled, places_in

__all__ = ["Row", "Series"]

FOLD = "fold"
NEEDED = ("name", "folds", "baseline", "metrics", "rows")
KEYS = (*NEEDED, "overrides", "differences")
ROW_KEYS = ("config", "overrides", "generate", "metrics", "compared")
GENERATE_KEYS = ("output", "overrides", "beams", "max_tokens", "nearest", "judge", "batch_size")
TABLE = "generated-train.jsonl"


@dataclass(frozen=True)
class Row:
    """One experiment of a series.

    Args:
        config: its file.
        overrides: ``key=value`` strings, those of the series for this file before the row's own. ``<fold>`` stands
            for the number of the fold, and ``<teacher>`` for the folder of the row ``teacher``'s run of the same fold.
        generate: arguments of `kdmm.generate`: what the finished model writes about its training data, by the file's
            name in the run's folder. Places stand in them as in overrides.
        metrics: those of the series' that it is compared by, such as a model of one modality; ``None``: all of them.
        compared: whether it stands in the tables; if not, it is run for the rows that stand on it alone.
    """

    config: Path
    overrides: tuple[str, ...] = ()
    generate: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: tuple[str, ...] | None = None
    compared: bool = True

    @property
    def places(self) -> tuple[str, ...]:
        """What stands for something in the overrides and in what is generated."""
        return (*places_in(self.overrides), *places_in(self.generate))


@dataclass(frozen=True)
class Series:
    """Rows over folds.

    Args:
        name: the runs are written to ``runs/<name>/``.
        folds: one run of each row a fold; its number is the run's ``seed``, too, if the row does not set another.
        baseline: the row that the others are held against.
        metrics: that are compared, by the names in the logs, such as ``test/top1``.
        rows: the experiments by name, each after those that it stands on.
        differences: pairs of rows of which the second is subtracted from the first, beside the baseline's differences.
    """

    name: str
    folds: tuple[int, ...]
    baseline: str
    metrics: tuple[str, ...]
    rows: Mapping[str, Row]
    differences: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, path: Path) -> Series:
        """Read a series from a YAML file, whose configs are relative to it.

        ``overrides`` in it are those that all rows of a config begin with, in a list by the config.

        Raises:
            InputError: the file cannot be read, or says something wrong.
        """
        tree = read_with_base(path)
        _known(path, "", tree, KEYS)
        missing = [key for key in NEEDED if key not in tree]
        if missing:
            raise InputError(f"{path}: {missing[0]} is missing; a series has {', '.join(NEEDED)}.")
        rows: dict[str, Row] = {}
        shared = _shared(path, tree.get("overrides", {}))
        if not isinstance(tree["rows"], dict) or not tree["rows"]:
            raise InputError(f"{path}: rows: found {tree['rows']!r}; give experiments by name.")
        for name, given in tree["rows"].items():
            rows[str(name)] = _row(path, str(name), given, rows, shared)
        unused = set(shared) - {given["config"] for given in tree["rows"].values()}
        if unused:
            configs = dict.fromkeys(str(given["config"]) for given in tree["rows"].values())
            raise InputError(f"{path}: overrides: {_wrong(min(unused), configs)}")
        folds, metrics = (_listed(path, key, tree[key], kind) for key, kind in (("folds", int), ("metrics", str)))
        for name, row in rows.items():
            for metric in row.metrics or ():
                if metric not in metrics:
                    raise InputError(f"{path}: rows.{name}.metrics: {_wrong(metric, metrics)}")
        compared = [name for name, row in rows.items() if row.compared]
        if tree["baseline"] not in compared:
            raise InputError(f"{path}: baseline: {_wrong(tree['baseline'], compared)}")
        pairs = _pairs(path, tree.get("differences", ()), compared)
        return cls(str(tree["name"]), folds, tree["baseline"], metrics, rows, pairs)

    def chosen(self, names: Iterable[str]) -> Series:
        """Return the series of some rows, and of those that they stand on.

        Raises:
            InputError: there is no such row.
        """
        wanted = set(names)
        for name in wanted:
            if name not in self.rows:
                raise InputError(f"--rows: {_wrong(name, self.rows)}")
        for name in reversed(list(self.rows)):
            if name in wanted:
                wanted |= set(self.rows[name].places) - {FOLD}
        pairs = tuple(pair for pair in self.differences if wanted.issuperset(pair))
        return replace(self, rows={name: row for name, row in self.rows.items() if name in wanted}, differences=pairs)

    def measured(self, metric: str) -> list[str]:
        """Return the rows that are compared by a metric."""
        return [
            name for name, row in self.rows.items() if row.compared and (row.metrics is None or metric in row.metrics)
        ]

    def run_name(self, row: str, fold: int) -> str:
        """Return the name of a row's run, which is its folder under ``runs/``."""
        return f"{self.name}/{re.sub('[^a-z0-9._]+', '-', row.lower()).strip('-')}-fold{fold}"

    def overrides(self, row: str, fold: int, root: Path) -> list[str]:
        """Return what changes in a row's config for one fold.

        Args:
            row: its name.
            fold: its number.
            root: the folder of all runs.
        """
        fixed = [f"name={self.run_name(row, fold)}", f"seed={fold}", "trainer.enable_progress_bar=false"]
        return [*fixed, *filled(self.rows[row].overrides, self._stand_for(fold, root))]

    def tables(self, row: str, fold: int, root: Path) -> dict[str, dict[str, Any]]:
        """Return a row's `Row.generate` for one fold.

        Args:
            row: its name.
            fold: its number.
            root: the folder of all runs.
        """
        tables: dict[str, dict[str, Any]] = filled(self.rows[row].generate, self._stand_for(fold, root))
        return tables

    def _stand_for(self, fold: int, root: Path) -> dict[str, str]:
        return {name: str(root / self.run_name(name, fold)) for name in self.rows} | {FOLD: str(fold)}


def _shared(path: Path, given: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(given, dict):
        raise InputError(f"{path}: overrides: found {given!r}; give lists of overrides by the rows' configs.")
    return {str(config): _listed(path, f"overrides.{config}", each, str) for config, each in given.items()}


def _row(path: Path, name: str, given: Any, before: Mapping[str, Row], shared: Mapping[str, tuple[str, ...]]) -> Row:
    place = f"rows.{name}"
    if name == FOLD:
        raise InputError(f"{path}: {place}: <{FOLD}> stands for the fold's number. Give the row another name.")
    if not isinstance(given, dict) or "config" not in given:
        raise InputError(f"{path}: {place}: found {given!r}; give its config, an experiment's file.")
    _known(path, f"{place}.", given, ROW_KEYS)
    compared = given.get("compared", True)
    if not isinstance(compared, bool):
        raise InputError(f"{path}: {place}.compared: found {compared!r}; accepted: true or false.")
    metrics = _listed(path, f"{place}.metrics", given["metrics"], str) if "metrics" in given else None
    own = _listed(path, f"{place}.overrides", given.get("overrides", ()), str)
    config = str(given["config"])
    tables = _tables(path, place, given.get("generate", []))
    row = Row(path.parent / config, (*shared.get(config, ()), *own), tables, metrics, compared)
    for key, texts in (("overrides", row.overrides), ("generate", tables)):
        for each in places_in(texts):
            if each != FOLD and each not in before:
                raise InputError(f"{path}: {place}.{key}: <{each}>: {_wrong(each, (FOLD, *before))}")
    return row


def _tables(path: Path, place: str, given: Any) -> dict[str, Mapping[str, Any]]:
    """Return what a row's model writes, by the table's name; one that has none is `TABLE`."""
    tables: dict[str, Mapping[str, Any]] = {}
    for each in given if isinstance(given, list) else [given]:
        if not isinstance(each, dict):
            raise InputError(f"{path}: {place}.generate: found {each!r}; give its arguments, such as {{beams: 4}}.")
        _known(path, f"{place}.generate.", each, GENERATE_KEYS)
        name = str(each.get("output", TABLE))
        if name in tables:
            raise InputError(f"{path}: {place}.generate: two tables are called {name!r}. Give one another `output`.")
        tables[name] = {key: value for key, value in each.items() if key != "output"}
    return tables


def _pairs(path: Path, given: Any, rows: Sequence[str]) -> tuple[tuple[str, str], ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(each, list) and len(each) == 2 for each in given):
        raise InputError(f"{path}: differences: found {given!r}; accepted: a list of pairs of rows, [[row, other]].")
    for name in (name for pair in given for name in pair):
        if name not in rows:
            raise InputError(f"{path}: differences: {_wrong(name, rows)}")
    return tuple((first, second) for first, second in given)


def _known(path: Path, place: str, tree: Mapping[Any, Any], accepted: Sequence[str]) -> None:
    for key in tree:
        if key not in accepted:
            raise InputError(f"{path}: {place}{_wrong(key, accepted)}")


def _listed(path: Path, place: str, given: Any, kind: type) -> tuple[Any, ...]:
    if not isinstance(given, list | tuple) or not all(type(each) is kind for each in given):
        wanted = "whole numbers" if kind is int else "texts"
        raise InputError(f"{path}: {place}: found {given!r}; accepted: a list of {wanted}.")
    return tuple(given)


def _wrong(name: Any, accepted: Iterable[str]) -> str:
    known = list(accepted)
    return f"found {name!r}; accepted: {', '.join(known)}.{nearest(str(name), known)}"
