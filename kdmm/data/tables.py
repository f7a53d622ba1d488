"""Reading a table from CSV, TSV, JSONL, Parquet or Arrow, with errors that name the row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kdmm.data.arrow_file import read_arrow, read_parquet
from kdmm.data.columns import Table, check_columns
from kdmm.data.csv_file import read_csv
from kdmm.data.json_text import parsed_json
from kdmm.errors import InputError, nearest

__all__ = ["TABLES", "Table", "existing_file", "read_table"]

TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow")
"""How the names of tables end."""


def read_table(
    path: Path, columns: Sequence[str], separator: str | None, setting: str, quoted: bool | None = None
) -> Table:
    """Read the named columns of a file.

    Args:
        path: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet`` or ``.arrow``.
        columns: names of those wanted.
        separator: between the columns of a text file of any other ending.
        setting: what the file is set by, for messages.
        quoted: as for :func:`kdmm.data.csv_file.read_csv`.

    Raises:
        InputError: no such file, an unknown kind, no rows, a missing column, or a row that cannot be read.
    """
    existing_file(path, setting)
    readers: dict[str, Callable[[], Table]] = {
        ".csv": lambda: read_csv(path, columns, ",", quoted),
        ".tsv": lambda: read_csv(path, columns, "\t", quoted),
        ".jsonl": lambda: _read_jsonl(path, columns),
        ".parquet": lambda: read_parquet(path, columns),
        ".arrow": lambda: read_arrow(path, columns),
    }
    if separator is not None:
        table = read_csv(path, columns, separator, quoted)
    elif path.suffix.lower() in readers:
        table = readers[path.suffix.lower()]()
    else:
        raise InputError(
            f"{setting}: {str(path)!r} ends in {path.suffix!r}; tables are {', '.join(TABLES)}. For a text file of "
            "another name, set `separator`."
        )
    if not table.rows:
        raise InputError(f"{setting}: {str(path)!r} has no rows. Give a table that has some, or leave the file out.")
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


def _read_jsonl(path: Path, columns: Sequence[str]) -> Table:
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = parsed_json(line)
            except ValueError as error:  # not JSON, or not UTF-8
                raise InputError(
                    f"{path}, line {number} is not JSON: {error}. Write one object {{...}} a line, in UTF-8."
                ) from error
            if not isinstance(row, dict):
                raise InputError(
                    f"{path}, line {number} holds {type(row).__name__} and no object. Write one object {{...}} a line, "
                    "with the columns' names."
                )
            rows.append(row)
            names.update(dict.fromkeys(row))
    if rows:
        check_columns(path, columns, list(names))
    return Table(path, {name: [row.get(name) for row in rows] for name in columns}, len(rows))
