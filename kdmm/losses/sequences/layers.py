"""The pairs of layers that a term compares."""

from collections.abc import Mapping
from typing import Any

from kdmm.errors import InputError
from kdmm.losses.term import named

__all__ = ["checked_layers", "named_layers"]


def checked_layers(term: str, layers: Mapping[str, str]) -> dict[str, str]:
    """Return the teacher's layer of each of the student's.

    Raises:
        InputError: there is none.
    """
    if not layers:
        raise InputError(f"{term}: layers is empty. Give pairs of tapped names, student's: teacher's.")
    return dict(layers)


def named_layers(arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names under ``layers`` in the YAML, none where it is wrong or missing; for `Term.reads`."""
    layers = arguments.get("layers")
    return (named(*layers), named(*layers.values())) if isinstance(layers, Mapping) else (frozenset(), frozenset())
