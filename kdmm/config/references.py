"""``${key}``: one setting that repeats another. Nothing else is evaluated, so no YAML reads the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from kdmm.errors import nearest
from kdmm.targets import UNKNOWN, Problem
from kdmm.targets.problem import at

__all__ = ["resolved"]

REFERENCE = re.compile(r"\$\{[\w.\[\]]+\}")
MISSING = "???"  # OmegaConf's word for a value still to be given
MAX_DEPTH = 50  # of nesting: deeper is a setting that contains itself
MAX_VALUES = 20_000  # more is a file made to fill the memory


class _EndlessError(Exception):
    """References that never end; holds the path."""


def resolved(tree: dict[Any, Any], problems: list[Problem]) -> dict[Any, Any]:
    """Return the tree with each ``${key}`` replaced by the value of that key.

    Args:
        tree: mappings, lists and scalars; left as it is.
        problems: what cannot be resolved is added here, and `UNKNOWN` stands in its place, which passes later checks.
    """
    try:
        content = OmegaConf.create(_screened(tree, "", problems))
        names = list(_paths(tree, ""))
        return cast(dict[Any, Any], _Walk(problems, names).items(content, ""))
    except _EndlessError as error:
        problems.append(Problem(str(error)[:60], "the settings contain themselves, or repeat each other without end"))
    return dict.fromkeys(tree, UNKNOWN)


def _screened(value: Any, path: str, problems: list[Problem]) -> Any:
    """Return the tree with `MISSING` for each text that asks for more than a key."""
    if isinstance(value, dict):
        return {key: _screened(item, at(path, key), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_screened(item, at(path, i), problems) for i, item in enumerate(value)]
    if value == MISSING:
        problems.append(Problem(path, "a value must be given", f"{path}=value on the command line, or in the file"))
    if isinstance(value, str) and "${" in REFERENCE.sub("", value):
        accepted = "${key} of this config only: nothing is evaluated, and the environment is not read"
        problems.append(Problem(path, f"found {value!r}", accepted))
        return MISSING
    return value


def _paths(tree: Any, path: str) -> Iterator[str]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield at(path, key)
        yield from _paths(value, at(path, key))


class _Walk:
    """Resolves a config value by value, so that one failure does not hide the next."""

    def __init__(self, problems: list[Problem], names: list[str]) -> None:
        self.problems = problems
        self.names = names
        self.values = 0

    def items(self, node: DictConfig | ListConfig, path: str, depth: int = 0) -> Any:
        """Return what a container holds."""
        keys: list[Any] = list(range(len(node))) if isinstance(node, ListConfig) else list(node.keys())
        self.values += len(keys)
        if depth > MAX_DEPTH or self.values > MAX_VALUES:
            raise _EndlessError(path)
        values = [self.value(node, key, at(path, key), depth) for key in keys]
        return values if isinstance(node, ListConfig) else dict(zip(keys, values, strict=True))

    def value(self, node: DictConfig | ListConfig, key: Any, path: str, depth: int) -> Any:
        """Return one value; `UNKNOWN` where it cannot be told."""
        if OmegaConf.is_missing(node, key):
            return UNKNOWN
        try:
            value = node[key]
        except (OmegaConfBaseException, RecursionError) as error:
            self.problems.append(self._failure(error, path))
            return UNKNOWN
        return self.items(value, path, depth + 1) if isinstance(value, DictConfig | ListConfig) else value

    def _failure(self, error: Exception, path: str) -> Problem:
        asked = re.search(r"'(.+?)' not found", str(error))
        if isinstance(error, InterpolationKeyError) and asked:
            return Problem(path, f"refers to {asked[1]!r}, which is not set", nearest=nearest(asked[1], self.names))
        return Problem(path, f"cannot be resolved ({str(error).splitlines()[0].rstrip('.')})")
