"""Sources whose samples are the rows of one table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdmm.data.by_split import BySplit
from kdmm.data.sample import Sample
from kdmm.data.source import Split, check_ids
from kdmm.data.split_files import split_named
from kdmm.data.tables import Table, read_table
from kdmm.errors import InputError

__all__ = ["TableSource", "shown", "texts_in"]

LONGEST = 40  # characters of a value in a message


class TableSource(BySplit):
    """Reads a table whole; a row is a sample.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file.
        id: the column with the ids; ``None`` takes the row's number.
        split: the column with ``train``, ``val`` or ``test``; ``None`` makes the whole table the train split.
        group: the column with what keeps rows on one side of a split, if any.
        separator: between the columns of a text file that is not called ``.csv`` or ``.tsv``, or differs from it.
    """

    def __init__(
        self, path: str | Path, id: str | None, split: str | None, group: str | None, separator: str | None
    ) -> None:
        self.path = Path(path)
        self.id = id
        self.split = split
        self.group = group
        self.separator = separator

    def __str__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @property
    @abstractmethod
    def columns(self) -> Sequence[str | None]:
        """The columns that are read beside those of this class; ``None`` is none."""

    @abstractmethod
    def sample(self, table: Table, row: int, id: str, group: str | None, origin: str) -> Sample:
        """Return the sample of a row.

        Raises:
            InputError: the row cannot be one; the message begins with ``origin``.
        """

    def read_all(self) -> dict[Split, list[Sample]]:
        """Read the table; without a split column it is the train split."""
        wanted = [*self.columns, self.id, self.split, self.group]
        names = list(dict.fromkeys(name for name in wanted if name is not None))
        table = read_table(self.path, names, self.separator, f"{type(self).__name__}.path")
        samples = [
            self.sample(table, row, self._id(table, row), self._group(table, row), table.origin(row))
            for row in range(table.rows)
        ]
        check_ids(samples, str(self))
        found: dict[Split, list[Sample]] = {}
        for row, sample in enumerate(samples):
            split = "train" if self.split is None else split_named(table.columns[self.split][row], sample.origin)
            found.setdefault(split, []).append(sample)
        return found

    def _id(self, table: Table, row: int) -> str:
        if self.id is None:
            return str(row + 1)
        value = table.columns[self.id][row]
        if value is None or not str(value).strip():
            raise InputError(
                f"{table.origin(row)}: the id is empty. Fill the column, or give no id column to number the rows."
            )
        return str(value)

    def _group(self, table: Table, row: int) -> str | None:
        value = None if self.group is None else table.columns[self.group][row]
        return str(value) if value is not None and str(value).strip() else None


def texts_in(value: Any, column: str, origin: str, several: bool = True) -> Iterator[str]:
    """Yield the texts of a cell.

    Args:
        value: a text, ``None``, or a list of them.
        column: its name, as it stands in a message.
        origin: of the row.
        several: whether a list is taken.

    Raises:
        InputError: the cell holds something else.
    """
    for text in value if several and isinstance(value, list) else [value]:
        if text is None:
            continue
        if not isinstance(text, str):
            raise InputError(
                f"{origin}: the {column} holds {shown(text)}; text {'or a list of texts ' if several else ''}is needed."
            )
        yield text


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return f"{text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'} ({type(value).__name__})"
