"""Adding to a store what it lacks of some data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from kdmm.distributed import all_reduce_sum, rank
from kdmm.errors import InputError
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.keys import TEXTS, text_key, view_key
from kdmm.teachers.cache.plan import Plan
from kdmm.teachers.cache.requests import texts_of
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.store import Store, StoredTable
from kdmm.teachers.cache.writer import Writer
from kdmm.teachers.teacher import Running
from kdmm.views import EVAL_VIEW

__all__ = ["add", "missing_of"]


def add(store: Store, teachers: Mapping[str, Running], data: CacheSource, splits: Iterable[str]) -> bool:
    """Let the running teachers answer what a store lacks, and write it beside: a store within the store.

    All ranks write their shards.

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
    missing = {name: missing_of(table, data, splits) for name, table in store.tables.items()}
    if not any(any(map(len, each.values())) for each in missing.values()):
        return False
    settings = _settings(store, splits)
    plan = Plan.of(teachers, data, settings, store.manifest["ensemble"], missing)
    writer = Writer(store.folder / f"added-{len(store.added):03d}", plan, teachers, data)
    if rank() == 0:
        writer.begin()
    _wait(teachers)
    device = next(next(iter(teachers.values())).model.parameters()).device
    for item in writer:
        inputs = {name: x.to(device) if isinstance(x, Tensor) else x for name, x in item["inputs"].items()}
        writer.step({**item, "inputs": inputs})
    writer.end()
    _wait(teachers)
    if rank() == 0:
        writer.finish()
    _wait(teachers)
    return True


def missing_of(table: StoredTable, data: CacheSource, splits: Iterable[str]) -> dict[str, Any]:
    """Return what a table lacks: under ``texts`` those, and by split the positions of each source with the views.

    Args:
        table: the table.
        data: the DataModule.
        splits: which of its splits.

    Raises:
        InputError: its answers depend on a caption and a medium together.
    """
    if all(each in TEXTS for each in table.reads):
        texts = texts_of(data, splits, table.reads)
        keys = torch.tensor([text_key(*each) for each in texts], dtype=torch.long)
        lacking = (table.find(keys) < 0).tolist()
        found = [each for each, lacks in zip(texts, lacking, strict=True) if lacks]
        return {"texts": found}
    if any(each in TEXTS for each in table.reads):
        raise InputError(
            f"fill: online adds answers to {' with '.join(table.reads)} one modality at a time. Write a store of these "
            "data with `kdmm cache`, or take kdmm.teachers.Hybrid."
        )
    return {split: each for split in splits if (each := _positions(table, data, split))}


def _positions(table: StoredTable, data: CacheSource, split: str) -> tuple[dict[str, list[int]], list[int]] | tuple[()]:
    if split == "train" and data.views is None:
        raise InputError("views: fill: online needs a fixed number. Set `data.views`, or take kdmm.teachers.Hybrid.")
    views = list(range(cast(int, data.views))) if split == "train" else [EVAL_VIEW]
    found: dict[str, list[int]] = {}
    lacking: set[int] = set()
    for place in data.everything(split).walk():
        if all(place.sample.has(each) for each in table.reads):
            rows = table.find(torch.tensor([view_key(place.name, view) for view in views]))
            new = [view for view, row in zip(views, rows.tolist(), strict=True) if row < 0]
            if new:
                found.setdefault(place.source, []).append(place.position)
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
