"""A table of finished cells, as Markdown or for a terminal."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

__all__ = ["NOTHING", "Table"]

NOTHING = "-"
"""The cell of a value that does not exist."""


@dataclass(frozen=True)
class Table:
    """Cells under headers; the first column names the rows.

    Args:
        title: stands above it.
        headers: one a column.
        rows: one cell a column.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def without_empty_columns(self) -> Table:
        """Leave out columns in which no row has anything."""
        kept = [
            column
            for column in range(len(self.headers))
            if column == 0 or any(row[column] != NOTHING for row in self.rows)
        ]
        return Table(
            self.title,
            tuple(self.headers[column] for column in kept),
            tuple(tuple(row[column] for column in kept) for row in self.rows),
        )

    def transposed(self) -> Table:
        """Make the rows columns: a few rows with many numbers are then narrow enough for a terminal."""
        names, *columns = zip(*self.rows, strict=True)
        rows = tuple((header, *cells) for header, cells in zip(self.headers[1:], columns, strict=True))
        return Table(self.title, (self.headers[0], *names), rows)

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown, numbers to the right."""
        lines = [self.headers, ("---", *("---:" for _ in self.headers[1:])), *self.rows]
        written = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"**{self.title}**\n\n" + "\n".join(written)

    def to_rich(self) -> RichTable:
        """Return the table for a terminal."""
        table = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, header in enumerate(self.headers):
            table.add_column(Text(header), justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table
