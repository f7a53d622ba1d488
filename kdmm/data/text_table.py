"""Texts with their classes from tables: CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdmm.data.by_split import BySplit
from kdmm.data.class_values import NONE, Classes, is_none, named_in_parquet
from kdmm.data.near_duplicates import WORD
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Split, check_ids
from kdmm.data.split_files import split_files, split_named
from kdmm.data.tables import Table, read_table
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["TextTable"]

RANGE = 2**63  # of `stable_hash`


class TextTable(BySplit):
    """A row is a text and its class.

    The splits are files, a column, or parts of the train split (``fractions``), which depend on nothing but the text:
    texts that differ in case and punctuation alone are on one side, and rows that are added move no other.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file; one or several by split, as ``{train: ...}``; or a
            folder with such files whose names hold their split's, as Hugging Face's ``datasets`` reads it.
        text: the column with the texts.
        label: the column with the classes, by name or by number, and what the label is called. ``None``: no classes.
        class_names: in the order of the classes' numbers. ``None``: what the Parquet files say, or else what the column
            holds, whole numbers by size and other names by the alphabet.
        split: the column with ``train``, ``val`` or ``test``.
        fractions: of the train split's texts that are for ``val`` and for ``test``.
        group: the column with what should stay on one side of ``fractions``, such as the author; ``None``: each text.
        id: the column with the ids; ``None`` numbers the rows.
        unlabelled: whether a row may be without a class (an empty cell, or -1); it is then a text alone.
        separator: between the columns of a text file that is not called ``.csv`` or ``.tsv``, or differs from it.

    Raises:
        InputError: what is set cannot be, or a file or a row is broken; the message names both.
    """

    def __init__(
        self,
        path: str | Path | Mapping[str, str | Path | Sequence[str | Path]],
        text: str = "text",
        label: str | None = "label",
        class_names: Sequence[str] | None = None,
        split: str | None = None,
        fractions: Mapping[str, float | int] | None = None,
        group: str | None = None,
        id: str | None = None,
        unlabelled: bool = False,
        separator: str | None = None,
    ) -> None:
        self.path = path
        self.text = text
        self.label = label
        self.named = None if class_names is None else tuple(class_names)
        self.split = split
        self.fractions = _checked_fractions(fractions or {})
        self.group = group
        self.id = id
        self.unlabelled = unlabelled
        self.separator = separator
        if self.named is not None and len(set(self.named)) < len(self.named):
            raise InputError(f"TextTable.class_names: {list(self.named)} names a class twice.")
        if split is not None and isinstance(path, Mapping):
            raise InputError(f"TextTable.split: {split!r} given, but `path` already names files by split. Set one.")

    def __str__(self) -> str:
        shown = {**self.path} if isinstance(self.path, Mapping) else str(self.path)
        return f"TextTable({shown!r})"

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the label's classes."""
        return {} if self.label is None else {self.label: self._classes.names}

    @cached_property
    def _tables(self) -> list[tuple[Split, Table]]:
        wanted = [self.text, self.label, self.split, self.group, self.id]
        columns = list(dict.fromkeys(name for name in wanted if name is not None))
        return [
            (split, read_table(path, columns, self.separator, "TextTable.path"))
            for split, paths in self._files().items()
            for path in paths
        ]

    def _files(self) -> dict[Split, list[Path]]:
        if isinstance(self.path, Mapping):
            named = {split_named(name, "TextTable.path"): given for name, given in self.path.items()}
            return {
                split: [Path(given)] if isinstance(given, str | Path) else [Path(each) for each in given]
                for split, given in named.items()
            }
        path = Path(self.path)
        return split_files(path, "TextTable.path") if path.is_dir() else {"train": [path]}

    @cached_property
    def _classes(self) -> Classes:
        assert self.label is not None
        if self.named is not None:
            return Classes(self.named)
        said = {named_in_parquet(table.path, self.label) for _, table in self._tables} - {None}
        if len(said) > 1:
            raise InputError(f"{self}: its files name other classes in another order. Set `class_names`.")
        names = next(iter(said), None)
        if names is not None:
            return Classes(names)
        return Classes.found(value for _, table in self._tables for value in table.columns[self.label])

    def read_all(self) -> dict[Split, list[Sample]]:
        """Read the files."""
        found: dict[Split, list[Sample]] = {}
        several = len(self._tables) > 1
        count = dict.fromkeys(SPLITS, 0)
        for split, table in self._tables:
            for row in range(table.rows):
                count[split] += 1
                sample = self._sample(table, row, f"{split}/{count[split]}" if several else str(count[split]))
                found.setdefault(self._split(split, sample, table, row), []).append(sample)
        check_ids([sample for samples in found.values() for sample in samples], str(self))
        return found

    def _sample(self, table: Table, row: int, number: str) -> Sample:
        origin, columns = table.origin(row), table.columns
        text = columns[self.text][row]
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"{origin}: the text column {self.text!r} holds {text!r}. Write a text, or remove the row."
            )
        name = number if self.id is None else str(columns[self.id][row] or "").strip()
        if not name:
            raise InputError(f"{origin}: the id is empty. Fill the column, or give no id column to number the rows.")
        group = None if self.group is None else str(columns[self.group][row] or "").strip() or None
        return Sample(
            name, captions=(text.strip(),), group=group, labels=self._labels(columns, row, origin), origin=origin
        )

    def _labels(self, columns: Mapping[str, Sequence[Any]], row: int, origin: str) -> dict[str, int]:
        if self.label is None:
            return {}
        value = columns[self.label][row]
        if not is_none(value):
            return {self.label: self._classes.number(value, origin)}
        if not self.unlabelled:
            raise InputError(
                f"{origin}: the label column {self.label!r} holds {value!r}. Fill it, or set `unlabelled: true`."
            )
        return {self.label: NONE}

    def _split(self, split: Split, sample: Sample, table: Table, row: int) -> Split:
        if self.split is not None:
            split = split_named(table.columns[self.split][row], sample.origin)
        if split != "train" or not self.fractions:
            return split
        words = WORD.findall(sample.captions[0].casefold())
        of = f"group {sample.group}" if sample.group is not None else " ".join(words) or sample.captions[0]
        place = stable_hash("text table split", of) / RANGE
        val, test = self.fractions.get("val", 0), self.fractions.get("test", 0)
        return "val" if place < val else "test" if place < val + test else "train"


def _checked_fractions(fractions: Mapping[str, float | int]) -> dict[Split, float]:
    found = {split_named(name, "TextTable.fractions"): float(part) for name, part in fractions.items()}
    if "train" in found or not all(0 < part < 1 for part in found.values()) or sum(found.values()) >= 1:
        raise InputError(
            f"TextTable.fractions: {dict(fractions)} given; give parts of the train split above 0 for val, test or "
            "both, together below 1, such as {val: 0.1, test: 0.1}."
        )
    return found
