"""What every kind of table becomes: equally long columns by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdmm.errors import InputError, nearest

__all__ = ["Table", "check_columns"]


@dataclass(frozen=True)
class Table:
    """Equally long columns by name.

    Args:
        path: the file.
        columns: the values; in the byte columns of Parquet and Arrow, buffers without a copy.
        rows: how many there are.
    """

    path: Path
    columns: dict[str, Sequence[Any]]
    rows: int

    def origin(self, row: int) -> str:
        """Return the name of a row in messages; the first is row 1."""
        return f"{self.path}, row {row + 1}"


def check_columns(path: Path, wanted: Iterable[str], found: Sequence[str]) -> None:
    """Refuse a table that lacks a wanted column."""
    for name in wanted:
        if name not in found:
            raise InputError(f"{path} has no column {name!r}; it has {', '.join(found)}.{nearest(name, found)}")
