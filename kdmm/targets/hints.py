"""Whether a value from YAML fits a type hint, and how to say that it does not.

Numbers are not text and text is no number; an integer may stand where a number is asked for, a boolean may not. A list
may stand for any sequence, a text for a path. A kind of hint that is not known here accepts everything.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import operator
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from kdmm.targets.problem import Problem, at

__all__ = ["UNKNOWN", "Made", "convert", "describe", "mismatches"]


@dataclass(frozen=True, repr=False)
class Made:
    """Stands for what a ``_target_`` node will make.

    Args:
        kind: its class; None if that is not known before it is built.
        partial: the node has ``_partial_: true``: it makes a callable that makes ``kind``.
        exact: ``kind`` is the class itself; else what a function's annotation promises, or a subclass of it.
    """

    kind: type | None = None
    partial: bool = False
    exact: bool = True

    def __repr__(self) -> str:
        return "{_target_ ...}"


UNKNOWN = Made()
"""Fits every hint."""

_SCALARS: dict[Any, str] = {
    int: "integer",
    float: "number",
    complex: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Path: "path",
}
_SEQUENCES = (
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Iterable,
    collections.abc.Collection,
    collections.abc.Set,
)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def mismatches(value: Any, hint: Any, path: str) -> list[Problem]:
    """Return where ``value`` does not fit ``hint``.

    Args:
        value: from YAML, with each ``_target_`` node replaced by `Made`.
        hint: a resolved type hint.
        path: where the value stands.
    """
    hint, origin, options = _normalized(hint)
    if _is_unknown(hint, origin):
        return []
    if origin is Union:
        return _mismatches_of_union(value, hint, options, path)
    wrong = [Problem(path, f"found {_show(value)}", describe(hint))]
    if isinstance(value, Made):
        return [] if _makes(value, hint, origin, options) else wrong
    if origin is Literal:
        return [] if any(value == option and type(value) is type(option) for option in options) else wrong
    if origin in _SEQUENCES:
        return _mismatches_of_items(value, origin, options, path) if isinstance(value, list | tuple) else wrong
    if origin in _MAPPINGS:
        if not isinstance(value, Mapping):
            return wrong
        key_hint, value_hint = options or (Any, Any)
        keys = [problem for key in value for problem in mismatches(key, key_hint, path)]
        return keys + [problem for key in value for problem in mismatches(value[key], value_hint, at(path, key))]
    return [] if _is_instance(value, hint, origin) else wrong


def convert(value: Any, hint: Any) -> Any:
    """Return ``value`` in the form that ``hint`` asks for: a list as a tuple or set, a text as a path, 1 as 1.0."""
    hint, origin, options = _normalized(hint)
    if origin is Union:
        fitting = [option for option in options if not mismatches(value, option, "")]
        same = [option for option in fitting if convert(value, option) is value]
        return value if same or not fitting else convert(value, fitting[0])
    if hint is float and type(value) is int:
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if origin in _SEQUENCES and isinstance(value, list):
        hints = _each(value, origin, options)
        if len(hints) != len(value):
            return value
        items = [convert(item, option) for item, option in zip(value, hints, strict=True)]
        if origin in (tuple, set, frozenset):
            return origin(items)
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if origin in _MAPPINGS and isinstance(value, dict) and options:
        items_of = {key: convert(item, options[1]) for key, item in value.items()}
        return items_of if any(items_of[key] is not value[key] for key in value) else value
    return value


def describe(hint: Any) -> str:
    """Return what a hint accepts, in the words of a YAML."""
    hint, origin, options = _normalized(hint)
    if origin is Union:
        return " or ".join(dict.fromkeys(describe(option) for option in options))
    if origin is Literal:
        return " or ".join(repr(option) for option in options)
    if origin in _SEQUENCES:
        if origin is tuple and options and options[-1] is not Ellipsis:
            return f"list of {len(options)} ({', '.join(describe(option) for option in options)})"
        return f"list of {describe(options[0])}" if options and options[0] is not Any else "list"
    if origin in _MAPPINGS:
        return f"mapping of {describe(options[0])} to {describe(options[1])}" if options else "mapping"
    if origin is collections.abc.Callable:
        result = _result(options)
        known = isinstance(result, type) and result.__module__ != "builtins"
        return "a node with `_partial_: true`" + (f" for {_name(result)}" if known else "")
    if hint in _SCALARS:
        return _SCALARS[hint]
    return "anything" if _is_unknown(hint, origin) else f"a `_target_` that makes {_name(hint)}"


def _normalized(hint: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return the hint without wrappers, its origin and its arguments."""
    while True:
        if get_origin(hint) is typing.Annotated:
            hint = get_args(hint)[0]
        elif isinstance(hint, TypeVar):
            constraints = hint.__constraints__
            hint = functools.reduce(operator.or_, constraints) if constraints else hint.__bound__ or Any
        elif hasattr(hint, "__supertype__"):  # typing.NewType
            hint = hint.__supertype__
        else:
            break
    if hint is None:
        hint = type(None)
    origin = get_origin(hint)
    if origin is types.UnionType:
        origin = Union
    if origin is None and (hint in _SEQUENCES or hint in _MAPPINGS or hint is collections.abc.Callable):
        origin = hint
    return hint, origin, get_args(hint)


def _is_unknown(hint: Any, origin: Any) -> bool:
    if origin in (Union, Literal, collections.abc.Callable, *_SEQUENCES, *_MAPPINGS):
        return False
    if not isinstance(origin or hint, type) or hint in (object, type, Any) or origin is type:
        return True
    kind = origin or hint
    return (
        getattr(kind, "_is_protocol", False)
        or typing.is_typeddict(kind)
        or issubclass(kind, enum.Enum)
        or kind.__module__.partition(".")[0] == "jaxtyping"
    )


def _mismatches_of_union(value: Any, hint: Any, options: Sequence[Any], path: str) -> list[Problem]:
    each = [mismatches(value, option, path) for option in options]
    if not all(each):
        return []
    inside = [problems for problems in each if all(problem.path != path for problem in problems)]
    return inside[0] if len(inside) == 1 else [Problem(path, f"found {_show(value)}", describe(hint))]


def _mismatches_of_items(value: Sequence[Any], origin: Any, options: tuple[Any, ...], path: str) -> list[Problem]:
    hints = _each(value, origin, options)
    if len(hints) != len(value):
        return [Problem(path, f"found {_show(value)}", describe(tuple[tuple(hints)]))]  # type: ignore[misc]
    return [problem for i, item in enumerate(value) for problem in mismatches(item, hints[i], at(path, i))]


def _each(value: Sequence[Any], origin: Any, options: tuple[Any, ...]) -> list[Any]:
    """Return one hint an item; as many as the hint asks for, which may differ from the number of items."""
    if origin is tuple and options and options[-1] is not Ellipsis:
        return list(options)
    return [options[0] if options else Any] * len(value)


def _is_instance(value: Any, hint: Any, origin: Any) -> bool:
    kind = origin or hint
    if isinstance(value, bool):
        return kind not in (int, float, complex) and isinstance(value, kind)
    if kind in (float, complex):
        return isinstance(value, int | float)
    if issubclass(kind, os.PathLike):
        return isinstance(value, str | os.PathLike)
    if kind is collections.abc.Callable:
        return callable(value)
    return isinstance(value, kind)


def _makes(made: Made, hint: Any, origin: Any, options: tuple[Any, ...]) -> bool:
    """Whether what the node makes may stand where ``hint`` is asked for."""
    if made.kind is None and not made.partial:
        return True
    if origin is Literal:
        return False
    kind = origin or hint
    if kind is not collections.abc.Callable:
        return not made.partial and _is_subclass(made, kind)
    if not made.partial:
        return made.kind is None or any("__call__" in vars(base) for base in made.kind.__mro__)
    return mismatches(Made(made.kind, exact=made.exact), _result(options), "") == []


def _result(options: tuple[Any, ...]) -> Any:
    """Return what ``Callable[options]`` returns."""
    return options[1] if len(options) == 2 else Any


def _is_subclass(made: Made, kind: type) -> bool:
    if made.kind is None:
        return True
    if kind in _SEQUENCES[4:] and hasattr(made.kind, "__iter__"):  # what serves as one without being registered
        return True
    try:
        return issubclass(made.kind, kind) or (not made.exact and issubclass(kind, made.kind))
    except TypeError:  # a kind that does not answer
        return True


def _show(value: Any) -> str:
    """Return a value as found in YAML, with its kind."""
    if isinstance(value, Made):
        kind = _name(value.kind) if value.kind else "an object"
        return f"a node with `_partial_: true` for {kind}" if value.partial else f"a `_target_` that makes {kind}"
    if value is None:
        return "null"
    kinds: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "text", list: "list"}
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else _short(value)
    return f"{text} ({kinds.get(type(value), 'mapping' if isinstance(value, Mapping) else type(value).__name__)})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else str(kind.__qualname__)
