"""What kdmm itself offers a YAML to name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdmm.targets.hints import describe
from kdmm.targets.signature import hint_of, parameters_of

__all__ = ["Component", "components"]


@dataclass(frozen=True)
class Component:
    """One class or function that a YAML can name.

    Args:
        target: its ``_target_``.
        names: what a term reads from its models, or what a model gives; empty where neither applies.
        summary: the first line of its docstring.
    """

    target: str
    names: str
    summary: str


def components(kind: str) -> list[Component]:
    """Return what the room ``kdmm.<kind>`` offers: its public classes, and the functions written like one.

    Args:
        kind: ``losses``, ``models``, ``data`` or ``metrics``.
    """
    room = importlib.import_module(f"kdmm.{kind}")
    return [
        Component(f"kdmm.{kind}.{name}", _names(found), (inspect.getdoc(found) or "").partition("\n")[0])
        for name in room.__all__
        if _can_be_named(found := getattr(room, name), name)
    ]


def _can_be_named(found: Any, name: str) -> bool:
    return (inspect.isclass(found) and not inspect.isabstract(found)) or (
        inspect.isfunction(found) and name[0].isupper()
    )


def _names(found: Any) -> str:
    given = getattr(found, "gives", None)
    if isinstance(given, frozenset):
        return ", ".join(sorted(given))
    if not hasattr(found, "reads"):
        return ""
    student, teacher = found.reads(_placeholders(found))
    return ", ".join(
        [*(f"student.{name}" for name in sorted(student)), *(f"teacher.{name}" for name in sorted(teacher))]
    )


def _placeholders(term: Any) -> Mapping[str, Any]:
    """Return a term's arguments: their defaults, and ``<name>`` where one must be given."""
    arguments: dict[str, Any] = {}
    for name, parameter in (parameters_of(term) or {}).items():
        if parameter.default is not inspect.Parameter.empty:
            arguments[name] = parameter.default
        else:
            takes_list = describe(hint_of(term, parameter)).startswith("list")
            arguments[name] = [f"<{name}>"] if takes_list else f"<{name}>"
    return arguments
