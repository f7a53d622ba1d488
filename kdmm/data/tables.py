"""Reading a table from CSV, TSV, JSONL or Parquet: one column a name, with errors that name the row."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from kdmm.errors import InputError, nearest

__all__ = ["Table", "existing_file", "read_table"]

BYTES = (pyarrow.types.is_binary, pyarrow.types.is_large_binary)


@dataclass(frozen=True)
class Table:
    """Equally long columns by name.

    Args:
        path: the file.
        columns: the values; in Parquet's byte columns, buffers without a copy.
        rows: how many there are.
    """

    path: Path
    columns: dict[str, Sequence[Any]]
    rows: int

    def origin(self, row: int) -> str:
        """Return the name of a row in messages; the first is row 1."""
        return f"{self.path}, row {row + 1}"


def read_table(path: Path, columns: Sequence[str], separator: str | None, setting: str) -> Table:
    """Read the named columns of a file.

    Args:
        path: ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.
        columns: names of those wanted.
        separator: between the columns of a text file of any other ending.
        setting: what the file is set by, for messages.

    Raises:
        InputError: no such file, an unknown kind, no rows, a missing column, or a row that cannot be read.
    """
    existing_file(path, setting)
    readers: dict[str, Callable[[], Table]] = {
        ".csv": lambda: _read_csv(path, columns, separator or ","),
        ".tsv": lambda: _read_csv(path, columns, separator or "\t"),
        ".jsonl": lambda: _read_jsonl(path, columns),
        ".parquet": lambda: _read_parquet(path, columns),
    }
    if separator is not None:
        table = _read_csv(path, columns, separator)
    elif path.suffix.lower() in readers:
        table = readers[path.suffix.lower()]()
    else:
        raise InputError(
            f"{setting}: {str(path)!r} ends in {path.suffix!r}; tables are {', '.join(readers)}. For a text file of "
            "another name, set `separator`."
        )
    if not table.rows:
        raise InputError(f"{setting}: {str(path)!r} has no rows.")
    return table


def existing_file(path: Path, setting: str) -> Path:
    """Return ``path``.

    Raises:
        InputError: it is no file, or it is empty.
    """
    if not path.is_file():
        near = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        kind = "a folder, a file is needed" if path.is_dir() else "there is no such file"
        raise InputError(f"{setting}: {str(path)!r}: {kind}.{nearest(path.name, near)}")
    if path.stat().st_size == 0:
        raise InputError(f"{setting}: the file {str(path)!r} is empty.")
    return path


def check_columns(path: Path, wanted: Iterable[str], found: Sequence[str]) -> None:
    """Refuse a table that lacks a wanted column."""
    for name in wanted:
        if name not in found:
            raise InputError(f"{path} has no column {name!r}; it has {', '.join(found)}.{nearest(name, found)}")


def _read_csv(path: Path, columns: Sequence[str], separator: str) -> Table:
    if len(separator) != 1:
        raise InputError(f"separator: {separator!r} given; one character is needed.")
    chosen: list[list[str]] = [[] for _ in columns]
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)  # strict: an open quotation mark is an error
        try:
            header = next(reader, [])
            check_columns(path, columns, header)
            places = [header.index(name) for name in columns]
            for row in reader:
                if len(row) != len(header):
                    if not row:  # an empty line
                        continue
                    raise InputError(
                        f"{path}, row {len(chosen[0]) + 1} (line {reader.line_num}) has {len(row)} columns, and the "
                        f"header has {len(header)}. Put a value with {separator!r} in it between quotation marks."
                    )
                for column, place in zip(chosen, places, strict=True):
                    column.append(row[place])
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}.") from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, after line {reader.line_num}: the text is not UTF-8 ({error.reason})."
            ) from error
    return Table(path, dict(zip(columns, chosen, strict=True)), len(chosen[0]))


def _read_jsonl(path: Path, columns: Sequence[str]) -> Table:
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:  # not JSON, or not UTF-8
                raise InputError(f"{path}, line {number} is not JSON: {error}.") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number} holds no object {{...}} but {type(row).__name__}.")
            rows.append(row)
            names.update(dict.fromkeys(row))
    if rows:
        check_columns(path, columns, list(names))
    return Table(path, {name: [row.get(name) for row in rows] for name in columns}, len(rows))


def _read_parquet(path: Path, columns: Sequence[str]) -> Table:
    try:
        check_columns(path, columns, pyarrow.parquet.read_schema(path).names)
        table = pyarrow.parquet.read_table(path, columns=list(columns))
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is no Parquet file that can be read ({reason}).") from error
    return Table(path, {name: _values(table.column(name)) for name in columns}, table.num_rows)


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
