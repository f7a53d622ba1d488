"""What kdmm itself offers a YAML to name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from kdmm.targets.hints import describe
from kdmm.targets.signature import hint_of, parameters_of

__all__ = ["Component", "components"]


@dataclass(frozen=True)
class Component:
    """One class or function that a YAML can name.

    Args:
        target: its ``_target_``.
        family: the part of its room that it belongs to, such as ``pairs``.
        names: what a term reads from its models, or what a model gives; empty where neither applies.
        summary: the first line of its docstring.
        paper: in which a term was published; empty if it does not say.
    """

    target: str
    family: str
    names: str
    summary: str
    paper: str


def components(kind: str) -> list[Component]:
    """Return what the room ``kdmm.<kind>`` offers: its public classes, and the functions written like one.

    Of the losses terms come first, family by family, then what belongs to them, such as adapters and weightings.

    Args:
        kind: ``losses``, ``models``, ``data`` or ``metrics``.
    """
    room = importlib.import_module(f"kdmm.{kind}")
    found = [(name, each) for name in room.__all__ if _can_be_named(each := getattr(room, name), name)]
    if kind == "losses":
        found.sort(key=lambda pair: not hasattr(pair[1], "reads"))  # terms say what they read
    return [
        Component(
            target=f"kdmm.{kind}.{name}",
            family=_family(room, name, each),
            names=_names(each),
            summary=(inspect.getdoc(each) or "").partition("\n")[0],
            paper=getattr(each, "paper", ""),
        )
        for name, each in found
    ]


def _family(room: ModuleType, name: str, found: Any) -> str:
    """Return the part of a room that lists a name, which may be another's under a name of its own, or defines it."""
    parts = {part: vars(module).get("__all__", ()) for part, module in vars(room).items() if inspect.ismodule(module)}
    defined: str = found.__module__.removeprefix(f"{room.__name__}.").split(".")[0]
    return next((part for part, names in parts.items() if name in names), defined)


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
