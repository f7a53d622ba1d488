"""Parallel text from a table: what is read and what it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdmm.data.distinct import distinct
from kdmm.data.sample import Sample
from kdmm.data.table_source import TableSource, texts_in
from kdmm.data.tables import Table
from kdmm.errors import InputError

__all__ = ["ParallelTable"]


class ParallelTable(TableSource):
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
        super().__init__(path, id, split, group, separator)
        self.source = source
        self.targets = (target,) if isinstance(target, str) else tuple(target or ())

    @property
    def columns(self) -> Sequence[str | None]:
        """Those of the texts."""
        return (self.source, *self.targets)

    def sample(self, table: Table, row: int, id: str, group: str | None, origin: str) -> Sample:
        """Return the sample of a row."""
        sources = distinct(texts_in(table.columns[self.source][row], f"column {self.source!r}", origin, several=False))
        if not sources:
            raise InputError(f"{origin}: the source column {self.source!r} is empty. Fill it, or remove the row.")
        targets = distinct(
            text for name in self.targets for text in texts_in(table.columns[name][row], f"column {name!r}", origin)
        )
        if self.targets and not targets:
            raise InputError(
                f"{origin} has no target in {', '.join(map(repr, self.targets))}. Fill it, remove the row, or give "
                "`target: null` for a table of sources alone."
            )
        return Sample(id=id, source=sources[0], captions=targets, group=group, origin=origin)
