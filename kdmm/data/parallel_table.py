"""Parallel text from a table: what is read and what it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdmm.data.distinct import distinct
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split, check_ids
from kdmm.data.tables import Table, read_table
from kdmm.errors import InputError, nearest

__all__ = ["ParallelTable"]

OTHER_NAMES: dict[str, Split] = {"validation": "val", "valid": "val", "dev": "val"}


class ParallelTable(Source):
    """A row is a source text with its targets: translations, summaries, or what a teacher wrote (``kdmm generate``).

    A row without a source or a target is refused: in a file of aligned lines it means that they have slipped. For
    sources alone give ``target: null``.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file.
        source: the column with the text that is read.
        target: the column with the text that is written or a list of several (JSONL, Parquet), or several columns.
            ``None``: no texts to write.
        id: the column with the ids; ``None`` takes the row's number.
        split: the column with ``train``, ``val`` or ``test``; ``None`` makes the whole table the train split.
        group: the column with what keeps rows on one side of a split, such as their document, if any.
        separator: between the columns of a text file that is not called ``.csv`` or ``.tsv``, or differs from it.
    """

    def __init__(
        self,
        path: str | Path,
        source: str = "source",
        target: str | Sequence[str] | None = "target",
        id: str | None = None,
        split: str | None = None,
        group: str | None = None,
        separator: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.source = source
        self.targets = (target,) if isinstance(target, str) else tuple(target or ())
        self.id = id
        self.split = split
        self.group = group
        self.separator = separator

    def __str__(self) -> str:
        return f"ParallelTable({str(self.path)!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those in the split column, or the train split."""
        return tuple(split for split in SPLITS if split in self._by_split)

    def read(self, split: Split) -> list[Sample]:
        """Return the rows of a split."""
        return self._by_split[split]

    @cached_property
    def _by_split(self) -> dict[Split, list[Sample]]:
        wanted = [self.source, *self.targets, self.id, self.split, self.group]
        names = list(dict.fromkeys(name for name in wanted if name is not None))
        table = read_table(self.path, names, self.separator, "ParallelTable.path")
        samples = [self._sample(table, row) for row in range(table.rows)]
        check_ids(samples, str(self))
        found: dict[Split, list[Sample]] = {}
        for row, sample in enumerate(samples):
            found.setdefault(self._split(table, row), []).append(sample)
        return found

    def _split(self, table: Table, row: int) -> Split:
        if self.split is None:
            return "train"
        name = table.columns[self.split][row]
        text = str(name).strip().lower()
        for split in SPLITS:
            if OTHER_NAMES.get(text, text) == split:
                return split
        raise InputError(
            f"{table.origin(row)}: the split is {name!r}; accepted are {', '.join((*SPLITS, *OTHER_NAMES))}."
            + nearest(text, SPLITS)
        )

    def _sample(self, table: Table, row: int) -> Sample:
        origin = table.origin(row)
        sources = distinct(_texts(table.columns[self.source][row], self.source, origin, several=False))
        if not sources:
            raise InputError(f"{origin}: the source column {self.source!r} is empty. Fill it, or remove the row.")
        targets = distinct(
            text for name in self.targets for text in _texts(table.columns[name][row], name, origin, several=True)
        )
        if self.targets and not targets:
            raise InputError(
                f"{origin} has no target in {', '.join(map(repr, self.targets))}. Fill it, remove the row, or give "
                "`target: null` for a table of sources alone."
            )
        group = None if self.group is None else table.columns[self.group][row]
        return Sample(
            id=str(row + 1) if self.id is None else _id(table.columns[self.id][row], origin),
            source=sources[0],
            captions=targets,
            group=str(group) if group is not None and str(group).strip() else None,
            origin=origin,
        )


def _texts(value: Any, column: str, origin: str, several: bool) -> Iterator[str]:
    for text in value if several and isinstance(value, list) else [value]:
        if text is None:
            continue
        if not isinstance(text, str):
            shown = repr(text)
            raise InputError(
                f"{origin}: the column {column!r} holds {shown if len(shown) <= 40 else shown[:37] + '...'} "
                f"({type(text).__name__}); text {'or a list of texts ' if several else ''}is needed."
            )
        yield text


def _id(value: Any, origin: str) -> str:
    if value is None or str(value).strip() == "":
        raise InputError(f"{origin}: the id is empty. Fill the column, or give no id column to number the rows.")
    return str(value)
