"""Reading YAML files, and saying what is wrong with them and where."""

from __future__ import annotations

import difflib
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped]  # OmegaConf's parser; it has no annotations
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kdmm.config.overrides import merged
from kdmm.errors import InputError

__all__ = ["nearest_path", "read_with_base"]


def read_with_base(path: Path) -> dict[Any, Any]:
    """Return what a YAML file holds, over what its ``base:`` holds; references are not resolved.

    Raises:
        InputError: a file is missing, empty, no mapping or no YAML; or the base has a base.
    """
    tree = _read(path)
    base = tree.pop("base", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise InputError(f"{path}: base: found {base!r}; accepted: one path, relative to this file.")
    try:
        below = _read(path.parent / base)
    except InputError as error:
        raise InputError(f"{path}: base: {error}") from error
    if "base" in below:
        raise InputError(f"{path}: base: {base} has a base itself. Only one is allowed: merge the two.")
    return cast(dict[Any, Any], merged(below, tree))


def nearest_path(path: Path) -> str:
    """Return ``" Did you mean 'x'?"`` for the existing path closest to ``path``, or an empty string."""
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        names: list[str] = []
        with suppress(OSError):  # a file, or a folder that may not be listed: nothing to suggest
            names = sorted(entry.name for entry in found.iterdir())
        close = [part] if part in (".", "..", *names) else difflib.get_close_matches(part, names, n=1)
        if not close:
            return ""
        found /= close[0]
    return f" Did you mean {str(found)!r}?"


def _read(path: Path) -> dict[Any, Any]:
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give one YAML file in it.")
    if not path.exists():
        raise InputError(f"{path} does not exist.{nearest_path(path)}")
    try:
        content = OmegaConf.load(path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{path}{place}: {error.problem or error.context}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no text in UTF-8: {error}.") from error
    except (OmegaConfBaseException, RecursionError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if not isinstance(content, DictConfig):
        raise InputError(f"{path} holds a list. An experiment is a mapping with name, data and module.")
    if not content:
        raise InputError(f"{path} is empty. An experiment needs name, data and module.")
    return cast(dict[Any, Any], OmegaConf.to_container(content, resolve=False))
