"""Samples with the texts that a teacher wrote about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kdmm.data.changed import ChangedTraining
from kdmm.data.distinct import distinct
from kdmm.data.sample import Sample
from kdmm.data.source import Source
from kdmm.data.table_source import texts_in
from kdmm.data.tables import read_table
from kdmm.errors import InputError

__all__ = ["Taught"]


class Taught(ChangedTraining):
    """Gives the training samples of a source the texts of a table in the place of their own.

    With a teacher's texts (``kdmm generate``) it is sequence-level distillation (Kim and Rush 2016, arXiv:1606.07947);
    the samples need no texts themselves, so a student learns from sources or pictures that nobody has written about. A
    training sample that the table lacks is left out. The val and test splits are the source's own. Several texts of a
    sample, such as a teacher's n best, are several rows with its id, or a list in one (JSONL, Parquet); each view shows
    one of them. With a captioner's texts beside people's captions it is a part of data set reinforcement (Vasu et al.
    2024, arXiv:2311.17049). Shards hold such texts themselves, as a list of captions (:class:`kdmm.data.WebDataset`).

    Args:
        source: whose samples are taken.
        path: the table, ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet``, such as ``runs/<name>/generated-train.jsonl``.
        text: its column with the texts.
        id: its column with the ids of the samples.
        beside: keeps the samples' own texts too, and those samples that the table lacks.

    Raises:
        InputError: the table lacks a text, or it is about none of the samples.
    """

    def __init__(
        self, source: Source, path: str | Path, text: str = "target", id: str = "id", beside: bool = False
    ) -> None:
        super().__init__(source)
        self.path = Path(path)
        self.text = text
        self.id = id
        self.beside = beside

    def __str__(self) -> str:
        return f"Taught({self.source}, {str(self.path)!r})"

    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Give the samples their texts."""
        texts = self._texts()
        found = [self._taught(sample, texts) for sample in samples if self.beside or sample.id in texts]
        if not any(sample.id in texts for sample in samples):
            raise InputError(
                f"Taught.path: {self.path} is about none of the {len(samples)} training samples of {self.source}; its "
                f"first id is {next(iter(texts))!r}, and theirs is {samples[0].id!r}. Give the table that was "
                "generated from the same source."
            )
        return found

    def _taught(self, sample: Sample, texts: Mapping[str, Sequence[str]]) -> Sample:
        own = sample.captions if self.beside else ()
        return replace(sample, captions=distinct((*own, *texts.get(sample.id, ()))))

    def _texts(self) -> dict[str, list[str]]:
        """Return the texts by the samples' ids."""
        table = read_table(self.path, [self.id, self.text], None, "Taught.path")
        texts: dict[str, list[str]] = {}
        for row in range(table.rows):
            name, cell = (table.columns[column][row] for column in (self.id, self.text))
            found = distinct(texts_in(cell, f"column {self.text!r}", table.origin(row)))
            if not found:
                raise InputError(f"{table.origin(row)} has no text in {self.text!r}. Fill it, or remove the row.")
            texts.setdefault(str(name), []).extend(found)
        return texts
