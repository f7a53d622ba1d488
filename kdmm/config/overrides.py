"""Settings over settings: a file over its base, ``key=value`` over a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]  # OmegaConf's parser; it has no annotations
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kdmm.errors import nearest
from kdmm.targets import Problem
from kdmm.targets.problem import closest

__all__ = ["apply", "merged"]

KEEP, DROP = "_keep_", "_drop_"


def merged(below: Any, above: Any) -> Any:
    """Return ``above`` over ``below``, without changing either: mappings key by key, all else replaced.

    A node whose ``_target_`` differs replaces the one below whole, for its arguments belong to another target, except
    those that it names in ``_keep_``. A mapping's ``_drop_`` names the keys that it does not take over.
    """
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return _copied(above)
    if "_target_" in below and above.get("_target_", below["_target_"]) != below["_target_"]:
        below = {key: value for key, value in below.items() if key in above.get(KEEP, ())}
    below = {key: value for key, value in below.items() if key not in above.get(DROP, ())}
    above = {key: value for key, value in above.items() if key not in (KEEP, DROP)}
    both = {key: merged(below[key], above[key]) if key in above else _copied(below[key]) for key in below}
    return both | {key: _copied(value) for key, value in above.items() if key not in below}


def apply(tree: dict[Any, Any], override: str) -> Problem | None:
    """Change ``tree`` by ``key=value`` (OmegaConf's dot-list; the value is YAML) or ``~key``.

    A key that is not there is added, if what it stands in is there: whether it may be is for the checks to say.

    Returns:
        What is wrong with the override, or None.
    """
    removes = override.startswith("~")
    key, equals, text = override.partition("=")
    if removes == bool(equals) or not key.strip("~"):
        return Problem("", f"override {override!r}", "key=value to set a key, ~key to remove one")
    *parents, last = key.removeprefix("~").replace("[", ".").replace("]", "").split(".")
    holder: Any = tree
    for depth, part in enumerate(parents):
        place = _place(holder, part)
        if place is None:
            return _unknown(override, parents[: depth + 1], holder)
        if holder[place] is None:  # such as `logger: null`
            holder[place] = {}
        holder = holder[place]
    place = _place(holder, last)
    if removes:
        if place is None:
            return _unknown(override, [*parents, last], holder)
        del holder[place]
        return None
    if place is None and not isinstance(holder, dict):
        return _unknown(override, [*parents, last], holder)
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]  # type: ignore[call-overload, index]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        return Problem("", f"override {override!r}: the value is no YAML ({problem})")
    if place is None:
        holder[last] = value
    else:
        holder[place] = merged(holder[place], value)
    return None


def _place(holder: Any, part: str) -> Any:
    """Return the key or index that ``part`` stands for in a mapping or list; None if there is none."""
    if isinstance(holder, dict):
        return next((key for key in holder if str(key) == part), None)
    if isinstance(holder, list) and part.isdecimal() and int(part) < len(holder):
        return int(part)
    return None


def _unknown(override: str, parts: list[str], holder: Any) -> Problem:
    names = [str(key) for key in holder] if isinstance(holder, dict) else []
    accepted = closest(parts[-1], names)
    if isinstance(holder, list):
        accepted = f"0 to {len(holder) - 1}" if holder else ""
    return Problem("", f"override {override!r}: there is no {'.'.join(parts)!r}", accepted, nearest(parts[-1], names))


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
