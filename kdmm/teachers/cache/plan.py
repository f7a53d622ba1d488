"""What a store is to hold: which tables, in which shards, made from what. Every process plans the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.models import Preprocess
from kdmm.teachers.cache.answering import columns_of, inputs_of
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.facts import facts_of_data, facts_of_teacher
from kdmm.teachers.cache.keys import TEXTS, keys_of, text_key
from kdmm.teachers.cache.precision import full_name
from kdmm.teachers.cache.requests import Grid, texts_of
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.table import Column
from kdmm.teachers.teacher import Running
from kdmm.views import EVAL_VIEW

__all__ = ["Plan", "Shard", "TablePlan"]

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


@dataclass(frozen=True)
class Plan:
    """A store.

    Args:
        facts: what it is made from, by name.
        views: K of the training samples.
        settings: how it is written.
        tables: by name.
        scales: each teacher's ``logit_scale`` and so on, by its name in a batch.
        ensemble: how several teachers are one; none of a single one.
    """

    facts: Mapping[str, str]
    views: int
    settings: Settings
    tables: Mapping[str, TablePlan]
    scales: Mapping[str, Mapping[str, Tensor]]
    ensemble: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        teachers: Mapping[str, Running],
        data: CacheSource,
        settings: Settings,
        ensemble: Mapping[str, Any],
        positions: Missing | None = None,
    ) -> Plan:
        """Plan a store.

        Args:
            teachers: that run, by their names in a batch.
            data: the DataModule.
            settings: how it is written.
            ensemble: how several teachers are one.
            positions: what is answered, where it is not everything.

        Raises:
            InputError: the data have no fixed views or no such split, or an output cannot be kept.
        """
        for split in settings.splits:
            if not data.has(split):
                raise InputError(f"splits: the data have no {split} split. Leave it out of --splits.")
        read = {each for teacher in teachers.values() for each in teacher.preprocess.modalities}
        if data.views is None and "train" in settings.splits and any(each not in TEXTS for each in read):
            raise InputError(
                "views: the DataModule has `views: null`, a new view of a sample in every pass, and a store holds a "
                "fixed number. Set `data.views`, such as 8."
            )
        tables, scales, said = {}, {}, set[str]()
        facts: dict[str, str] = facts_of_data(data.facts, read)
        facts |= facts_of_samples(data, settings.splits, tuple(sorted(read)))
        for part, teacher in teachers.items():
            facts |= facts_of_teacher(part, teacher)
            found, scales[part], names = columns_of(part, teacher, data, settings)
            said |= names
            for reads, columns in found.items():
                name = table_name(part, reads)
                missing = None if positions is None else positions[name]
                tables[name] = _table(part, reads, teacher.preprocess.only(*reads), columns, data, settings, missing)
        for name in (*settings.outputs, *(each for each in settings.formats if each)):
            if name not in said:
                known = ", ".join(sorted(said)) or "nothing"
                raise InputError(f"outputs: the teacher gives no {name!r}, but {known}.{nearest(name, said)}")
        return cls(facts, data.views or 1, settings, tables, scales, ensemble)

    @property
    def described(self) -> dict[str, str]:
        """The facts and settings that the files depend on, by name."""
        own = self.settings
        return {
            **self.facts,
            "views": str(self.views),
            "splits": ", ".join(own.splits),
            "batch size": str(own.batch_size),
            "rows of a shard": str(own.shard_rows),
            "precision": full_name(own.precision),
            "ensemble": repr(dict(self.ensemble)),
            **{
                f"format of {name}.{column.name}": column.format.name
                for name, table in self.tables.items()
                for column in table.columns.values()
            },
        }


def table_name(part: str, reads: Sequence[str]) -> str:
    """Return what the table of a teacher's answers to these modalities is called."""
    return f"{part}.{'+'.join(reads)}"


def facts_of_samples(data: CacheSource, splits: Sequence[str], read: Sequence[str]) -> dict[str, str]:
    """Return what changes with the samples of each split, and with each source that is read from front to back.

    Args:
        data: the DataModule.
        splits: which of its splits.
        read: modalities whose media count.
    """
    found = {}
    for split in splits:
        samples, digest, count = data.everything(split), hashlib.blake2b(digest_size=8), 0
        for place in samples.walk(listed=True):
            texts = (*place.sample.captions, place.sample.source)
            digest.update(repr((place.name, samples.identity(place.sample, read), texts)).encode("utf-8", "replace"))
            count += 1
        found[f"samples of {split}"] = f"{count}, {digest.hexdigest()}"
        found |= {f"{split} shards of {name}": each for name, each in samples.identities().items()}
    return found


def _table(
    part: str,
    reads: tuple[str, ...],
    preprocess: Preprocess,
    columns: Mapping[str, Column],
    data: CacheSource,
    settings: Settings,
    missing: Mapping[str, Any] | None,
) -> TablePlan:
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
    return TablePlan(part, reads, preprocess, columns, grids, texts, size, shards)


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
