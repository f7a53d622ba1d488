"""What a target takes and what it makes, read from its signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from kdmm.targets.hints import Made

__all__ = ["hint_of", "made_by", "name_of", "parameters_of"]


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """Return the parameters by name; None where Python cannot tell them (some C classes)."""
    try:
        return dict(inspect.signature(target).parameters)
    except (ValueError, TypeError, NameError):
        return None


def hint_of(target: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the parameter's hint with names resolved; `Any` if it has none or its names cannot be resolved."""
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    return _resolved(target, parameter.annotation)


def made_by(target: Callable[..., Any], partial: bool) -> Made:
    """Return what a node of this target makes."""
    if inspect.isclass(target):
        return Made(target, partial)
    kind = _resolved(target, inspect.signature(target).return_annotation)
    return Made(kind if isinstance(kind, type) and kind is not inspect.Parameter.empty else None, partial, exact=False)


def name_of(target: Callable[..., Any]) -> str:
    """Return the dotted name under which the target is defined."""
    return f"{target.__module__}.{target.__qualname__}"


def _resolved(target: Callable[..., Any], annotation: Any) -> Any:
    for names in _globals(target):
        with suppress(Exception):  # evaluating an annotation can raise anything: it was written elsewhere
            return typing.get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), globalns=names)["it"]
    return Any


def _globals(target: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """Yield the names that the annotations of ``target`` were written among."""
    functions = (target.__new__, target.__init__) if inspect.isclass(target) else (target,)
    for function in functions:
        names = getattr(inspect.unwrap(function), "__globals__", None)
        if names is not None:
            yield names
