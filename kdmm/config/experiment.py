"""Reading an experiment, checking it and writing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kdmm import atomic
from kdmm.config.files import read_with_base
from kdmm.config.overrides import apply, merged
from kdmm.config.references import resolved
from kdmm.config.shell import Config, completed, defaults, shell_problems, target_problems, to_dict
from kdmm.targets import together

__all__ = ["check", "load", "save", "to_yaml"]


def load(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), allow: Sequence[str] | None = None
) -> Config:
    """Read and check an experiment.

    Args:
        source: a YAML file, or what one would hold. A file's ``base:`` names another file, relative to it, whose
            settings it changes; a node with another ``_target_`` than the base's replaces it, but for the arguments
            that it names in ``_keep_``; a mapping's ``_drop_`` names keys that are not taken over.
        overrides: ``key=value`` sets or adds a key, ``~key`` removes one.
        allow: packages that may be named besides kdmm's own list. None: the targets are not checked, only what stands
            around them.

    Raises:
        InputError: the file cannot be read, or the settings are wrong: all problems in one message, with their paths.
    """
    tree = merged(defaults(), source if isinstance(source, Mapping) else read_with_base(Path(source)))
    problems = [problem for override in overrides if (problem := apply(tree, override))]
    tree = resolved(completed(tree), problems)
    problems += shell_problems(tree)
    if allow is not None:
        problems += target_problems(tree, allow)
    if problems:
        raise together(problems, "" if isinstance(source, Mapping) else str(source))
    return Config(**tree)


def check(config: Config, allow: Sequence[str] = ()) -> None:
    """Check an experiment without building anything: each target and argument, and what the terms read.

    Args:
        config: the experiment.
        allow: packages that may be named besides kdmm's own list.

    Raises:
        InputError: one message with all problems.
    """
    tree = to_dict(config)
    problems = shell_problems(tree) + target_problems(tree, allow)
    if problems:
        raise together(problems)


def save(config: Config, path: Path) -> None:
    """Write an experiment to a YAML file, whole or not at all; `load` reads it back."""
    with atomic.writing(path) as partial:
        OmegaConf.save(OmegaConf.structured(config), partial)


def to_yaml(tree: Mapping[str, Any]) -> str:
    """Return settings as the text of a YAML file."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(tree)))
