"""Classes as tables write them: by name or by number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet

from kdmm.errors import InputError, nearest

__all__ = ["Classes", "named_in_parquet"]

NONE = -1  # what Hugging Face's data sets write for no class
HUGGING_FACE = b"huggingface"  # its key in a Parquet file's metadata


class Classes:
    """The classes of a column.

    Args:
        names: in the order of their numbers.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def found(cls, values: Iterable[Any]) -> Classes:
        """Return the classes that values name: whole numbers by size, other names by the alphabet."""
        names = {str(value).strip() for value in values if not is_none(value)}
        numbers = all(name.isdecimal() for name in names)
        return cls(sorted(names, key=int) if numbers else sorted(names))

    def number(self, value: Any, origin: str) -> int:
        """Return the number of the class that a value names, or states.

        Raises:
            InputError: it does neither.
        """
        text = str(value).strip()
        if text in self._numbers:
            return self._numbers[text]
        if text.isdecimal() and int(text) < len(self.names):
            return int(text)
        raise InputError(
            f"{origin}: the class is {value!r}; the classes are {', '.join(self.names)}.{nearest(text, self.names)}"
        )


def is_none(value: Any) -> bool:
    """Return whether a cell says that there is no class: it is empty, or -1."""
    return value is None or str(value).strip() in ("", str(NONE))


def named_in_parquet(path: Path, column: str) -> tuple[str, ...] | None:
    """Return the class names that Hugging Face's ``datasets`` keeps in a Parquet file, if it does.

    Args:
        path: any table; only Parquet files have them.
        column: that has the classes.
    """
    if path.suffix.lower() != ".parquet":
        return None
    metadata = pyarrow.parquet.read_schema(path).metadata or {}
    try:
        feature = json.loads(metadata[HUGGING_FACE])["info"]["features"][column]
        return tuple(map(str, feature["names"]))
    except (KeyError, TypeError, ValueError):
        return None
