"""From a decoded JSON file to dataclasses, by their own annotations."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

__all__ = ["decoded"]

Kind = TypeVar("Kind")
NAMES = {int: "a whole number", float: "a number", str: "text", type(None): "null"}


def decoded(kind: type[Kind], tree: Any, name: str = "") -> Kind:
    """Return the dataclass that a tree describes. A field with a default may be left out; unknown keys are passed over.

    Known annotations are ``int``, ``float``, ``str``, ``Literal``, dataclasses, mappings from text to these, and
    unions of them.

    Args:
        kind: the dataclass.
        tree: what ``json.loads`` returned.
        name: where the tree stands, for messages.

    Raises:
        ValueError: something is missing or of another type; the message says what, by its dotted name.
    """
    if not isinstance(tree, dict):
        raise ValueError(f"{name or 'the file'} is {_shown(tree)}, not an object")
    hints = typing.get_type_hints(kind)
    values = {}
    for item in dataclasses.fields(cast(Any, kind)):
        place = f"{name}.{item.name}" if name else item.name
        if item.name in tree:
            values[item.name] = _value(hints[item.name], tree[item.name], place)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ValueError(f"it has no {place!r}")
    return kind(**values)


def _value(hint: Any, value: Any, name: str) -> Any:
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _value(next(each for each in options if each is not type(None)), value, name)
    if origin is Literal:
        if value not in options:
            raise ValueError(f"{name} is {_shown(value)}, not one of {', '.join(map(str, options))}")
        return value
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ValueError(f"{name} is {_shown(value)}, not an object")
        return {key: _value(options[1], item, f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return decoded(cast(type, hint), value, name)
    fits = (int, float) if hint is float else hint
    if isinstance(value, bool) or not isinstance(value, fits):
        raise ValueError(f"{name} is {_shown(value)}, not {NAMES[hint]}")
    return hint(value)


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
