"""Adding to a store what it lacks of some data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import torch

from kdmm.distributed import all_reduce_sum, rank
from kdmm.errors import InputError
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.finishing import MANIFEST
from kdmm.teachers.cache.keys import TEXTS
from kdmm.teachers.cache.lacking import left_out, missing_texts, missing_views, views_of
from kdmm.teachers.cache.plan import Plan
from kdmm.teachers.cache.precision import under
from kdmm.teachers.cache.requests import texts_of
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.store import Store, StoredTable
from kdmm.teachers.cache.writer import Writer
from kdmm.teachers.teacher import Running

__all__ = ["add", "missing_of"]


def add(store: Store, teachers: Mapping[str, Running], data: CacheSource, splits: Iterable[str]) -> bool:
    """Let the running teachers answer what a store lacks, and write it beside: a store within the store.

    All ranks write their shards, in the precision that the store was written in.

    Args:
        store: whose facts are those of the data and the teachers.
        teachers: by their names in a batch.
        data: the DataModule.
        splits: which of its splits.

    Returns:
        Whether anything was added.

    Raises:
        InputError: an answer depends on a caption and a medium together, whose missing ones are not added.
    """
    splits = tuple(split for split in splits if data.has(split))
    missing = {name: missing_of(store, table, data, splits) for name, table in store.tables.items()}
    if not any(any(map(len, each.values())) for each in missing.values()):
        return False
    settings = _settings(store, splits)
    plan = Plan.of(teachers, data, settings, store.manifest["ensemble"], missing)
    folders = (store.folder / f"added-{number:03d}" for number in count())  # one may have been deleted
    folder = next(each for each in folders if not (each / MANIFEST).is_file())
    instead = f"delete the folder {folder}: it holds an interrupted addition, and the store is whole without it"
    writer = Writer(folder, plan, teachers, data, instead)
    if rank() == 0:
        writer.begin()
    _wait(teachers)
    with under(settings.precision, teachers.values()) as step:
        for item in writer:
            with step.context():
                writer.step({**item, "inputs": step.moved(item["inputs"])})
    writer.end()
    _wait(teachers)
    if rank() == 0:
        writer.finish()
    _wait(teachers)
    return True


def missing_of(store: Store, table: StoredTable, data: CacheSource, splits: Iterable[str]) -> dict[str, Any]:
    """Return what a table lacks: under ``texts`` those, and by split the positions of each source with the views.

    Args:
        store: the store.
        table: one of its tables.
        data: the DataModule.
        splits: which of its splits.

    Raises:
        InputError: its answers depend on a caption and a medium together.
    """
    if all(each in TEXTS for each in table.reads):
        return {"texts": missing_texts(table, texts_of(data, splits, table.reads))}
    if any(each in TEXTS for each in table.reads):
        raise InputError(
            f"fill: online adds answers to {' with '.join(table.reads)} one modality at a time. Write a store of these "
            "data with `kdmm cache`, or take kdmm.teachers.Hybrid."
        )
    return {split: each for split in splits if (each := _positions(store, table, data, split))}


def _positions(
    store: Store, table: StoredTable, data: CacheSource, split: str
) -> tuple[dict[str, list[int]], list[int]] | tuple[()]:
    if split == "train" and data.views is None:
        raise InputError("views: fill: online needs a fixed number. Set `data.views`, or take kdmm.teachers.Hybrid.")
    views, may_lack = views_of(data, split), left_out(store, data, split)
    found: dict[str, list[int]] = {}
    lacking: set[int] = set()
    every = [
        (place.name, place.source, place.position, may_lack(place))
        for place in data.everything(split).walk()
        if all(place.sample.has(each) for each in table.reads)
    ]
    for place, new in missing_views(table, [name for name, *_ in every], views):
        _, source, position, without = every[place]
        if len(new) < len(views) or not without:
            found.setdefault(source, []).append(position)
            lacking.update(new)
    return (found, sorted(lacking)) if found else ()


def _settings(store: Store, splits: tuple[str, ...]) -> Settings:
    """Return how the store was written."""
    tables = store.tables.values()
    formats = {name: column.format.name for table in tables for name, column in table.columns.items()}
    outputs = tuple(dict.fromkeys(name for table in tables for name in table.columns))
    return Settings(splits, {"": "float32", **formats}, outputs, precision=store.facts["precision"])


def _wait(teachers: Mapping[str, Running]) -> None:
    """Wait for all ranks."""
    all_reduce_sum(torch.zeros(1, device=next(next(iter(teachers.values())).model.parameters()).device))
