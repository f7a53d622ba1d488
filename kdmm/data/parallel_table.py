"""Parallel text from tables: what is read and what it becomes."""

from __future__ import annotations

from collections.abc import Sequence

from kdmm.data.columns import Table
from kdmm.data.distinct import distinct
from kdmm.data.sample import Sample
from kdmm.data.split_files import TablePath
from kdmm.data.table_source import TableSource, texts_in
from kdmm.errors import InputError

__all__ = ["ParallelTable"]


class ParallelTable(TableSource):
    """A row is a source text with its targets: translations, summaries, or what a teacher wrote (``kdmm generate``).

    A row without a source or a target is refused: in a file of aligned lines it means that they have slipped. For
    sources alone give ``target: null``.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet`` or ``.arrow`` file; one or several by split, as
            ``{train: ...}``; or a folder with such files whose names hold their split's, as Hugging Face's ``datasets``
            reads it, or that its ``save_to_disk`` wrote.
        source: the column with the text that is read.
        target: the column with the text that is written or a list of several (JSONL, Parquet, Arrow), or several
            columns. ``None``: no texts to write.
        id: the column with the ids; ``None`` numbers the rows.
        split: the column with ``train``, ``val`` or ``test``; ``None``: as the files are, one alone is the train split.
        group: the column with what keeps rows on one side of a split, such as their document, if any.
        separator: between the columns of a text file that is not called ``.csv`` or ``.tsv``, or differs from it.
        quoted: whether quotation marks around a cell are not part of it; ``None``: they are not, but between tabs a
            cell that begins with one is refused.
    """

    def __init__(
        self,
        path: TablePath,
        source: str = "source",
        target: str | Sequence[str] | None = "target",
        id: str | None = None,
        split: str | None = None,
        group: str | None = None,
        separator: str | None = None,
        quoted: bool | None = None,
    ) -> None:
        super().__init__(path, id, split, group, separator, quoted)
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
