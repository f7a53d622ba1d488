"""Reading text files of columns: CSV, TSV and others with a separator."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from kdmm.data.columns import Table, check_columns
from kdmm.errors import InputError

__all__ = ["read_csv"]

MARK = '"'
SHOWN = 40  # characters of a cell in a message


def read_csv(path: Path, columns: Sequence[str], separator: str, quoted: bool | None) -> Table:
    """Read the named columns of a file, UTF-8.

    Args:
        path: the file.
        columns: names of those wanted.
        separator: between the columns, one character.
        quoted: whether quotation marks around a cell are not part of it, so that it may hold the separator and line
            ends. ``None``: they are not, but between tabs, where both are usual, a cell that begins with one is
            refused.

    Raises:
        InputError: the file cannot be read; the message names the row, and the line where it begins.
    """
    if len(separator) != 1:
        raise InputError(f"separator: {separator!r} given; one character is needed.")
    chosen: list[list[str]] = [[] for _ in columns]
    rows = _rows(path, separator, quoted)
    header, _ = next(rows, ([], 1))
    check_columns(path, columns, header)
    places = [header.index(name) for name in columns]
    for row, line in rows:
        if len(row) != len(header):
            remedy = "between quotation marks" if quoted or separator != "\t" else "into a .jsonl file"
            raise InputError(
                f"{path}, row {len(chosen[0]) + 1} (line {line}) has {len(row)} columns, and the header has "
                f"{len(header)}. Put a value with {separator!r} in it {remedy}."
            )
        for column, place in zip(chosen, places, strict=True):
            column.append(row[place])
    return Table(path, dict(zip(columns, chosen, strict=True)), len(chosen[0]))


def _rows(path: Path, separator: str, quoted: bool | None) -> Iterator[tuple[list[str], int]]:
    """Yield the rows that are not empty, each with the line where it begins."""
    plain = quoted is False or (quoted is None and separator == "\t")
    begins = 1
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(
            file,
            delimiter=separator,
            quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
            strict=True,  # an open quotation mark is an error
        )
        try:
            for row in reader:
                if plain and quoted is None:
                    _refuse_marks(path, begins, row)
                if row:
                    yield row, begins
                begins = reader.line_num + 1
        except csv.Error as error:
            remedy = (
                ""
                if plain
                else (
                    " Close the quotation mark that the row opens, write one inside of a quoted value twice, or set "
                    "`quoted: false` if quotation marks are part of the text."
                )
            )
            raise InputError(
                f"{path}: the row that begins in line {begins} cannot be read: {error}.{remedy}"
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, after line {reader.line_num}: the text is not UTF-8 ({error.reason}). Save it as UTF-8."
            ) from error


def _refuse_marks(path: Path, line: int, row: Sequence[str]) -> None:
    for cell in row:
        if cell.startswith(MARK):
            raise InputError(
                f"{path}, line {line}: a cell begins with a quotation mark: {cell[:SHOWN]}. Between tabs some programs "
                "put marks around a cell, and others mean the marks that they write. Set `quoted: true` for the former "
                "(pandas), `quoted: false` for the latter (most parallel texts), or give a .csv or .jsonl file."
            )
