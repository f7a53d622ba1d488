"""Places in a series' texts, such as ``<teacher>``, and what stands for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["filled", "places_in"]

PLACE = re.compile(r"<([^<>=]+)>")


def places_in(given: Any) -> list[str]:
    """Return the names of the places in texts, which may be nested in lists and mappings."""
    if isinstance(given, Mapping | list | tuple):
        within = given.values() if isinstance(given, Mapping) else given
        return [place for each in within for place in places_in(each)]
    return PLACE.findall(given) if isinstance(given, str) else []


def filled(given: Any, stands_for: Mapping[str, str]) -> Any:
    """Return texts, nested as they are, with what stands for each place; tuples become lists."""
    if isinstance(given, Mapping):
        return {key: filled(each, stands_for) for key, each in given.items()}
    if isinstance(given, list | tuple):
        return [filled(each, stands_for) for each in given]
    return PLACE.sub(lambda found: stands_for[found[1]], given) if isinstance(given, str) else given
