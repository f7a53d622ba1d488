"""Sources whose samples are the rows of tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdmm.data.arrow_file import named_in_file
from kdmm.data.by_split import BySplit
from kdmm.data.class_values import Classes
from kdmm.data.columns import Table
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Split, check_ids
from kdmm.data.split_files import TablePath, files_by_split, split_named
from kdmm.data.tables import read_table
from kdmm.errors import InputError

__all__ = ["TableSource", "shown", "texts_in"]

LONGEST = 40  # characters of a value in a message


class TableSource(BySplit):
    """Reads tables whole; a row is a sample.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet`` or ``.arrow`` file; one or several by split, as
            ``{train: ...}``; or a folder with such files whose names hold their split's, as Hugging Face's ``datasets``
            reads it, or that its ``save_to_disk`` wrote.
        id: the column with the ids; ``None`` numbers the rows.
        split: the column with ``train``, ``val`` or ``test``; ``None``: as the files are.
        group: the column with what keeps rows on one side of a split, if any.
        separator: between the columns of a text file that is not called ``.csv`` or ``.tsv``, or differs from it.
        quoted: whether quotation marks around a cell are not part of it; ``None``: they are not, but between tabs a
            cell that begins with one is refused.
    """

    def __init__(
        self,
        path: TablePath,
        id: str | None,
        split: str | None,
        group: str | None,
        separator: str | None,
        quoted: bool | None,
    ) -> None:
        self.path = path
        self.id = id
        self.split = split
        self.group = group
        self.separator = separator
        self.quoted = quoted
        if split is not None and isinstance(path, Mapping):
            raise InputError(f"{self._name}.split: {split!r} given, but `path` already names files by split. Set one.")

    def __str__(self) -> str:
        return f"{self._name}({ ({**self.path} if isinstance(self.path, Mapping) else str(self.path))!r})"

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

    def split_of(self, sample: Sample, split: Split) -> Split:
        """Return the split of a sample that the files or the column put into ``split``."""
        return split

    def read_all(self) -> dict[Split, list[Sample]]:
        """Read the tables."""
        found: dict[Split, list[Sample]] = {}
        several = len(self.tables) > 1
        count = dict.fromkeys(SPLITS, 0)
        for split, table in self.tables:
            for row in range(table.rows):
                count[split] += 1
                name = self._id(table, row, f"{split}/{count[split]}" if several else str(count[split]))
                sample = self.sample(table, row, name, self._group(table, row), table.origin(row))
                own = split if self.split is None else split_named(table.columns[self.split][row], sample.origin)
                found.setdefault(self.split_of(sample, own), []).append(sample)
        check_ids([sample for samples in found.values() for sample in samples], str(self))
        del self.tables  # the samples hold what is needed of them
        return found

    @cached_property
    def tables(self) -> list[tuple[Split, Table]]:
        """What the files hold, until the samples are made."""
        wanted = [*self.columns, self.id, self.split, self.group]
        names = list(dict.fromkeys(name for name in wanted if name is not None))
        return [
            (split, read_table(path, names, self.separator, f"{self._name}.path", self.quoted))
            for split, paths in self._files.items()
            for path in paths
        ]

    def classes_in_files(self, column: str) -> Classes | None:
        """Return the classes of a column that Hugging Face's ``datasets`` has written into the files, if it has."""
        said = {named_in_file(path, column) for paths in self._files.values() for path in paths} - {None}
        if len(said) > 1:
            raise InputError(f"{self}: its files name other classes in another order. Set `class_names`.")
        names = next(iter(said), None)
        return None if names is None else Classes(names)

    @property
    def _name(self) -> str:
        return type(self).__name__

    @cached_property
    def _files(self) -> dict[Split, list[Path]]:
        return files_by_split(self.path, f"{self._name}.path")

    def _id(self, table: Table, row: int, number: str) -> str:
        if self.id is None:
            return number
        value = table.columns[self.id][row]
        if value is None or not str(value).strip():
            raise InputError(
                f"{table.origin(row)}: the id is empty. Fill the column, or give no id column to number the rows."
            )
        return str(value).strip()

    def _group(self, table: Table, row: int) -> str | None:
        value = None if self.group is None else table.columns[self.group][row]
        return None if value is None else str(value).strip() or None


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
