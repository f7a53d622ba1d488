"""What a table of a store is to hold, in which shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from kdmm.models import Preprocess
from kdmm.teachers.cache.answering import inputs_of
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.keys import TEXTS, keys_of, text_key
from kdmm.teachers.cache.requests import Grid, texts_of
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.table import Column
from kdmm.views import EVAL_VIEW

__all__ = ["Missing", "Shard", "TablePlan", "table_name"]

TEXTS_A_MEDIUM = 8  # a caption costs far less memory than a picture or sound: so many more are answered at a time
MOST_BYTES = 1 << 30  # of a shard, which is in memory before it is written


Missing = Mapping[str, Mapping[str, Any]]
"""By table: under ``texts`` those, and by split the positions of each source with the views."""


@dataclass(frozen=True)
class Shard:
    """One file's part of a table: batches ``first`` to ``last - 1`` of a split's, or of the texts.

    Args:
        file: its name.
        split: whose samples it is about; ``""`` for texts.
        first: number of its first batch.
        last: one more than that of its last.
    """

    file: str
    split: str
    first: int
    last: int


@dataclass(frozen=True)
class TablePlan:
    """One table.

    Args:
        part: the teacher's name in a batch.
        reads: modalities that the answers depend on.
        preprocess: of these.
        columns: by output.
        grids: the batches of samples, by split; none of texts.
        texts: what is answered where no medium is read.
        batch_size: of texts.
        shards: its files.
    """

    part: str
    reads: tuple[str, ...]
    preprocess: Preprocess
    columns: Mapping[str, Column]
    grids: Mapping[str, Grid]
    texts: Sequence[tuple[str, ...]]
    batch_size: int
    shards: Sequence[Shard]

    @classmethod
    def of(
        cls,
        part: str,
        reads: tuple[str, ...],
        preprocess: Preprocess,
        columns: Mapping[str, Column],
        data: CacheSource,
        settings: Settings,
        missing: Mapping[str, Any] | None,
    ) -> TablePlan:
        """Plan a table.

        Args:
            part: the teacher's name in a batch.
            reads: modalities that the answers depend on.
            preprocess: of these.
            columns: by output.
            data: the DataModule.
            settings: how the store is written.
            missing: what is answered, where it is not everything; see `Missing`.
        """
        name = table_name(part, reads)
        is_text = all(each in TEXTS for each in reads)
        size = settings.batch_size * (TEXTS_A_MEDIUM if is_text else 1)
        row_bytes = sum(column.format.bytes_of(column.shape) for column in columns.values())
        a_shard = max(1, min(settings.shard_rows, MOST_BYTES // max(1, row_bytes)) // size)
        if is_text:
            texts = texts_of(data, settings.splits, reads) if missing is None else missing["texts"]
            counts = {"": -(-len(texts) // size)}
            grids: dict[str, Grid] = {}
        else:
            texts = []
            grids = {split: _grid(data, split, settings, missing) for split in settings.splits}
            counts = {split: len(grid) for split, grid in grids.items()}
        shards = [
            Shard(_file(name, split, number), split, number * a_shard, min((number + 1) * a_shard, count))
            for split, count in counts.items()
            for number in range(-(-count // a_shard))
        ]
        return cls(part, reads, preprocess, columns, grids, texts, size, shards)

    @property
    def name(self) -> str:
        """Such as ``teacher.image``."""
        return table_name(self.part, self.reads)

    def batches(self, data: CacheSource, split: str, shards: Sequence[Shard]) -> Iterator[dict[str, Any] | None]:
        """Yield what is read, and ``key`` (N,), batch by batch of these shards of a split; ``None`` for an empty one.

        Args:
            data: the DataModule.
            split: of the shards.
            shards: in their order.
        """
        numbers = [number for shard in shards for number in range(shard.first, shard.last)]
        if split not in self.grids:
            yield from (self._texts(number) for number in numbers)
            return
        requests = _Chosen(self.grids[split], numbers)
        for batch in data.everything(split).batches(requests, self.preprocess):
            if batch is None:
                yield None
            else:
                keys = keys_of(self.reads, batch, [True] * len(batch["id"]))
                yield {**inputs_of(batch, self.preprocess), "key": keys}

    def _texts(self, number: int) -> dict[str, Any]:
        rows = self.texts[number * self.batch_size : (number + 1) * self.batch_size]
        by_modality = zip([each for each in TEXTS if each in self.reads], zip(*rows, strict=True), strict=True)
        inputs = {each: self.preprocess.written[each](list(some)) for each, some in by_modality}
        return {**inputs, "key": torch.tensor([text_key(*row) for row in rows])}


def table_name(part: str, reads: Sequence[str]) -> str:
    """Return what the table of a teacher's answers to these modalities is called."""
    return f"{part}.{'+'.join(reads)}"


def _grid(data: CacheSource, split: str, settings: Settings, missing: Mapping[str, Any] | None) -> Grid:
    if missing is not None:
        positions, views = missing.get(split, ({}, ()))
        return Grid(positions.items(), views, settings.batch_size)
    counts = data.everything(split).counts
    views = tuple(range(cast(int, data.views))) if split == "train" else (EVAL_VIEW,)
    return Grid([(name, range(count)) for name, count in counts.items()], views, settings.batch_size)


def _file(table: str, split: str, number: int) -> str:
    return f"{table}.{split + '.' if split else ''}{number:05d}.safetensors"


class _Chosen(Sequence[Any]):
    """Some elements of a sequence."""

    def __init__(self, every: Sequence[Any], numbers: Sequence[int]) -> None:
        self.every = every
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: Any) -> Any:
        return self.every[self.numbers[place]]
