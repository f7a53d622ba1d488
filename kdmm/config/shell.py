"""The top level of an experiment: its settings, their defaults and their checks."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdmm import targets
from kdmm.errors import nearest
from kdmm.targets import Problem
from kdmm.targets.problem import at

__all__ = ["Config", "completed", "defaults", "differences", "shell_problems", "target_problems", "to_dict"]

MAX_SEED = 2**32 - 1  # NumPy takes no larger one
NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", re.ASCII)  # a path that stays inside runs/
EPOCHS = 10
TRAINER = {"accelerator": "auto", "devices": 1, "precision": "32-true"}
RESERVED = {
    "logger": "set `logger` at the top level",
    "callbacks": "set `callbacks` at the top level",
    "default_root_dir": "a run is written to runs/<name>",
    "use_distributed_sampler": "the DataModule divides the data over processes",
}
"""What a run passes to the Trainer itself."""


@dataclass
class Config:
    """One experiment.

    Args:
        name: the run is written to ``runs/<name>/``.
        data: the node of a LightningDataModule.
        module: the node of a LightningModule.
        description: a line for the report.
        seed: of everything that is drawn.
        trainer: arguments of `lightning.pytorch.Trainer`.
        logger: nodes of loggers by name, besides the CSV file that is always written; None for no other.
        callbacks: nodes of callbacks by name.
    """

    name: str
    data: dict[str, Any]
    module: dict[str, Any]
    description: str = ""
    seed: int = 0
    trainer: dict[str, Any] = field(default_factory=lambda: dict(TRAINER))
    logger: dict[str, Any] | None = None
    callbacks: dict[str, Any] = field(default_factory=dict)


FIELDS = {item.name: item for item in dataclasses.fields(Config)}
REQUIRED = ("name", "data", "module")


def to_dict(config: Config) -> dict[str, Any]:
    """Return an experiment as nested mappings, as its YAML holds it."""
    return {name: getattr(config, name) for name in FIELDS}


def differences(first: Config, second: Config) -> list[str]:
    """Return the paths of the settings in which two experiments differ."""
    return _differing(to_dict(first), to_dict(second), "")


def defaults() -> dict[str, Any]:
    """Return the settings that an experiment need not give."""
    return {"description": "", "seed": 0, "trainer": dict(TRAINER), "logger": None, "callbacks": {}}


def completed(tree: dict[Any, Any]) -> dict[Any, Any]:
    """Return the settings with those filled in that depend on others, and without callbacks and loggers set to null."""
    trainer, callbacks, logger = tree.get("trainer"), tree.get("callbacks"), tree.get("logger")
    if isinstance(trainer, dict) and "max_epochs" not in trainer:
        # Without `max_epochs` Lightning takes 1000 and warns; -1 is its word for no limit.
        limited = any(trainer.get(key) is not None for key in ("max_steps", "max_time"))
        trainer = {**trainer, "max_epochs": -1 if limited else EPOCHS}
    return {
        **tree,
        "trainer": trainer,
        "callbacks": {} if callbacks is None else _without_nulls(callbacks),
        "logger": _without_nulls(logger),
    }


def shell_problems(tree: Mapping[Any, Any]) -> list[Problem]:
    """Return what is wrong around the targets: unknown, missing and mistyped settings."""
    problems = [
        Problem(str(key), "unknown setting", ", ".join(FIELDS), nearest(str(key), FIELDS))
        for key in tree
        if key not in FIELDS
    ]
    hints = typing.get_type_hints(Config)
    problems += [
        Problem(name, "missing setting", targets.describe(hints[name])) for name in REQUIRED if name not in tree
    ]
    for setting in FIELDS:
        if setting in tree:
            problems += targets.mismatches(tree[setting], hints[setting], setting)
    name, seed = tree.get("name"), tree.get("seed")
    if isinstance(name, str) and not NAME.fullmatch(name):
        accepted = "letters, digits, '.', '_' and '-', in parts divided by '/': it names a folder inside runs/"
        problems.append(Problem("name", f"found {name!r}", accepted))
    if isinstance(seed, int) and not 0 <= seed <= MAX_SEED:
        problems.append(Problem("seed", f"found {seed}", f"0 to {MAX_SEED}"))
    return problems


def target_problems(tree: Mapping[Any, Any], allow: Sequence[str]) -> list[Problem]:
    """Return what is wrong in the targets, in the Trainer's arguments, and in what the terms read."""
    import lightning.pytorch as pl  # seconds: only when targets are checked

    problems: list[Problem] = []
    for name, kind in (("data", pl.LightningDataModule), ("module", pl.LightningModule)):
        if isinstance(tree.get(name), Mapping):
            problems += targets.check(tree[name], name, allow, kind)
    problems += targets.check_reads(tree.get("module"), "module", allow)
    for group, base in (("callbacks", pl.Callback), ("logger", pl.loggers.Logger)):
        nodes = tree.get(group)
        for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
            problems += targets.check(node, at(group, name), allow, base)
    if isinstance(tree.get("trainer"), Mapping):
        problems += _trainer_problems(tree["trainer"], allow)
    return problems


def _trainer_problems(trainer: Mapping[Any, Any], allow: Sequence[str]) -> list[Problem]:
    import lightning.pytorch as pl
    from lightning.pytorch.accelerators import AcceleratorRegistry
    from lightning.pytorch.strategies import StrategyRegistry

    arguments = {key: value for key, value in trainer.items() if key not in RESERVED}
    problems = [Problem(at("trainer", key), f"is not set here: {RESERVED[key]}") for key in trainer if key in RESERVED]
    problems += targets.check_call(pl.Trainer, arguments, "trainer", allow)
    choices = {
        "accelerator": ["auto", "gpu", *AcceleratorRegistry.available_accelerators()],
        "strategy": ["auto", *StrategyRegistry.available_strategies()],
    }
    for key, accepted in choices.items():
        value = trainer.get(key)
        if isinstance(value, str) and value not in accepted:
            problems.append(
                Problem(at("trainer", key), f"found {value!r}", ", ".join(accepted), nearest(value, accepted))
            )
    return problems


def _without_nulls(nodes: Any) -> Any:
    return {key: node for key, node in nodes.items() if node is not None} if isinstance(nodes, Mapping) else nodes


def _differing(first: Any, second: Any, path: str) -> list[str]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        keys = dict.fromkeys([*first, *second])
        return [
            found
            for key in keys
            for found in (
                _differing(first[key], second[key], at(path, key))
                if key in first and key in second
                else [at(path, key)]
            )
        ]
    return [] if first == second and type(first) is type(second) else [path]
