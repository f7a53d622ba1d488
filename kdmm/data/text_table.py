"""Texts with their classes from tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from kdmm.data.class_values import Classes, class_number
from kdmm.data.columns import Table
from kdmm.data.fractions import Fractions
from kdmm.data.near_duplicates import WORD
from kdmm.data.sample import Sample
from kdmm.data.source import Split
from kdmm.data.split_files import TablePath
from kdmm.data.table_source import TableSource
from kdmm.errors import InputError

__all__ = ["TextTable"]


class TextTable(TableSource):
    """A row is a text and its class.

    The splits are files, a column, or parts of the train split (``fractions``), which depend on nothing but the text:
    texts that differ in case and punctuation alone are on one side, and rows that are added move no other.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet`` or ``.arrow`` file; one or several by split, as
            ``{train: ...}``; or a folder with such files whose names hold their split's, as Hugging Face's ``datasets``
            reads it, or that its ``save_to_disk`` wrote.
        text: the column with the texts.
        label: the column with the classes, by name or by number, and what the label is called. ``None``: no classes.
        class_names: in the order of the classes' numbers. ``None``: what ``datasets`` wrote into Parquet and Arrow
            files, or else what the column holds, whole numbers by size and other names by the alphabet.
        split: the column with ``train``, ``val`` or ``test``.
        fractions: of the train split's texts that are for ``val`` and for ``test``.
        group: the column with what should stay on one side of ``fractions``, such as the author; ``None``: each text.
        id: the column with the ids; ``None`` numbers the rows.
        unlabelled: whether a row may be without a class (an empty cell, or -1); it is then a text alone.
        separator: between the columns of a text file that is not called ``.csv`` or ``.tsv``, or differs from it.
        quoted: whether quotation marks around a cell are not part of it; ``None``: they are not, but between tabs a
            cell that begins with one is refused.

    Raises:
        InputError: what is set cannot be, or a file or a row is broken; the message names both.
    """

    def __init__(
        self,
        path: TablePath,
        text: str = "text",
        label: str | None = "label",
        class_names: Sequence[str] | None = None,
        split: str | None = None,
        fractions: Mapping[str, float | int] | None = None,
        group: str | None = None,
        id: str | None = None,
        unlabelled: bool = False,
        separator: str | None = None,
        quoted: bool | None = None,
    ) -> None:
        super().__init__(path, id, split, group, separator, quoted)
        self.text = text
        self.label = label
        self.named = None if class_names is None else Classes(class_names, "TextTable.class_names")
        self.fractions = Fractions(fractions, "TextTable.fractions", "text table split")
        self.unlabelled = unlabelled

    @property
    def columns(self) -> Sequence[str | None]:
        """Those of the text and its class."""
        return (self.text, self.label)

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the label's classes."""
        return {} if self.label is None else {self.label: self._classes.names}

    @cached_property
    def _classes(self) -> Classes:
        assert self.label is not None
        known = self.named or self.classes_in_files(self.label)
        return known or Classes.found(value for _, table in self.tables for value in table.columns[self.label])

    def sample(self, table: Table, row: int, id: str, group: str | None, origin: str) -> Sample:
        """Return the sample of a row."""
        text = table.columns[self.text][row]
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"{origin}: the text column {self.text!r} holds {text!r}. Write a text, or remove the row."
            )
        labels: dict[str, int] = {}
        if self.label is not None:
            value = table.columns[self.label][row]
            labels[self.label] = class_number(value, self.label, origin, self._classes, self.unlabelled)
        return Sample(id, captions=(text.strip(),), group=group, labels=labels, origin=origin)

    def split_of(self, sample: Sample, split: Split) -> Split:
        """Take the fractions out of the train split."""
        if split != "train":
            return split
        words = WORD.findall(sample.captions[0].casefold())
        of = f"group {sample.group}" if sample.group is not None else " ".join(words) or sample.captions[0]
        return self.fractions.split(of)
