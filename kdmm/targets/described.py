"""Components that can say which YAML makes them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["Described", "node"]


class Described:
    """Remembers the arguments that it was made with."""

    made_with: Mapping[str, Any]

    def __new__(cls, *arguments: Any, **settings: Any) -> Any:
        """Make the object; copies and unpickled objects are made without arguments and get theirs with their state."""
        made = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(made, *arguments, **settings).arguments
        object.__setattr__(made, "made_with", {name: value for name, value in bound.items() if name != "self"})
        return made


def node(value: Any) -> Any:
    """Return the YAML node that makes a value: mappings, lists and scalars; ``???`` for what cannot be written.

    A class of kdmm is named by the room that lists it: ``kdmm.losses.KD``.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): node(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [node(item) for item in value]
    if isinstance(value, Described):
        return {"_target_": _public_name(type(value)), **{name: node(item) for name, item in value.made_with.items()}}
    if is_dataclass(value) and not isinstance(value, type):
        settings = {field.name: node(getattr(value, field.name)) for field in fields(value) if field.init}
        return {"_target_": _public_name(type(value)), **settings}
    return "???"


def _public_name(kind: type) -> str:
    room = ".".join(kind.__module__.split(".")[:2]) if kind.__module__.startswith("kdmm.") else kind.__module__
    return f"{room}.{kind.__qualname__}"
