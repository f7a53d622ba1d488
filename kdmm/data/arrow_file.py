"""Reading Parquet and Arrow files, and what Hugging Face's ``datasets`` writes into them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from kdmm.data.columns import Table, check_columns
from kdmm.errors import InputError

__all__ = ["named_in_file", "read_arrow", "read_parquet"]

BYTES = (pyarrow.types.is_binary, pyarrow.types.is_large_binary)
HUGGING_FACE = b"huggingface"  # its key in a file's metadata


def read_parquet(path: Path, columns: Sequence[str]) -> Table:
    """Read the named columns of a Parquet file.

    Raises:
        InputError: it lacks one, or cannot be read.
    """
    return _read(path, columns, lambda: pyarrow.parquet.read_table(path, columns=list(columns)))


def read_arrow(path: Path, columns: Sequence[str]) -> Table:
    """Read the named columns of an Arrow file in the streaming format, in which ``datasets`` keeps its files.

    Raises:
        InputError: it lacks one, or cannot be read.
    """
    return _read(path, columns, lambda: _stream(path).read_all().select(list(columns)))


def named_in_file(path: Path, column: str) -> tuple[str, ...] | None:
    """Return the class names that Hugging Face's ``datasets`` keeps in a Parquet or Arrow file, if it does.

    Args:
        path: any table; only these files have them.
        column: that has the classes.
    """
    if path.suffix.lower() not in SCHEMAS:
        return None
    metadata = SCHEMAS[path.suffix.lower()](path).metadata or {}
    try:
        feature = json.loads(metadata[HUGGING_FACE])["info"]["features"][column]
        return tuple(map(str, feature["names"]))
    except (KeyError, TypeError, ValueError):
        return None


def _read(path: Path, columns: Sequence[str], read: Callable[[], Any]) -> Table:
    kind = path.suffix.lower()
    try:
        check_columns(path, columns, SCHEMAS[kind](path).names)
        table = read()
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} is no {KINDS[kind]} file that can be read ({reason}). Write it again, or copy it whole."
        ) from error
    return Table(path, {name: _values(table.column(name)) for name in columns}, table.num_rows)


def _stream(path: Path) -> Any:
    return pyarrow.ipc.open_stream(pyarrow.memory_map(str(path)))


KINDS = {".parquet": "Parquet", ".arrow": "Arrow"}
SCHEMAS: dict[str, Callable[[Path], Any]] = {
    ".parquet": pyarrow.parquet.read_schema,
    ".arrow": lambda path: _stream(path).schema,
}


def _values(column: Any) -> list[Any]:
    """Return a column's values; bytes, also inside ``{bytes, path}``, as buffers of the column's own memory."""
    if any(is_bytes(column.type) for is_bytes in BYTES):
        return [_value(cell) for cell in column]
    if pyarrow.types.is_struct(column.type):
        return [{name: _value(cell) for name, cell in row.items()} if row.is_valid else None for row in column]
    values: list[Any] = column.to_pylist()
    return values


def _value(cell: Any) -> Any:
    is_bytes = any(is_kind(cell.type) for is_kind in BYTES)
    return cell.as_buffer() if is_bytes and cell.is_valid else cell.as_py()
