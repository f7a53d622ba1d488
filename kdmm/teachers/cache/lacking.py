"""What a store lacks of some data, as far as it is known without reading media."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from kdmm.models import Preprocess
from kdmm.teachers.cache.data import CacheSource, Samples
from kdmm.teachers.cache.keys import TEXTS, keys_of, text_key, view_key
from kdmm.teachers.cache.requests import Grid, texts_of_sample
from kdmm.teachers.cache.store import Store, StoredTable
from kdmm.views import EVAL_VIEW, stable_hash

__all__ = ["lacks", "left_out", "missing_texts", "missing_views", "views_of"]

AT_ONCE = 64  # samples whose captions are asked for together
LOOKED_UP = 1 << 14  # samples that are looked up together: the keys of all views of a million would take 1 GB


def lacks(store: Store, data: CacheSource, splits: Iterable[str]) -> list[str]:
    """Return what a store lacks, in words: samples, views of samples, texts.

    Nothing is said of samples that are not known before they are read, as those of shards behind URLs, nor of those
    that were `left_out`.

    Args:
        store: that was written.
        data: the DataModule, with a fixed number of views.
        splits: which of its splits.
    """
    found: dict[str, None] = {}
    for split in splits:
        if data.has(split):
            for table in store.tables.values():
                is_text = all(each in TEXTS for each in table.reads)
                told = _texts(table, data, split) if is_text else _samples(store, table, data, split)
                found.update(dict.fromkeys(told))
    return list(found)


def left_out(store: Store, data: CacheSource, split: str) -> Callable[[Any], bool]:
    """Return what tells whether a store was made from the sample at a place, where bad samples are left out.

    One of these that it has no answer to could not be read, and is left out of training too.

    Args:
        store: that was written.
        data: the DataModule.
        split: one of its splits.
    """
    if data.bad_samples != "skip":
        return lambda place: False
    known = store.media(split)
    shards = {source: tuple(f"{name}/" for name in each) for source, each in store.shards(split).items()}
    return lambda place: stable_hash(place.name) in known or place.sample.id.startswith(shards.get(place.source, ()))


def missing_texts(table: StoredTable, texts: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return those texts that a table has no answer to."""
    rows = table.find(torch.tensor([text_key(*each) for each in texts], dtype=torch.long))
    return [each for each, row in zip(texts, rows.tolist(), strict=True) if row < 0]


def missing_views(table: StoredTable, names: Sequence[str], views: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield the places of those samples of which a table, of answers to media alone, lacks a view, and these views."""
    for start in range(0, len(names), LOOKED_UP):
        some = names[start : start + LOOKED_UP]
        keys = torch.tensor([view_key(name, view) for name in some for view in views])
        absent = (table.find(keys) < 0).reshape(len(some), len(views))
        for place in absent.any(1).nonzero().flatten().tolist():
            flags = absent[place].tolist()
            yield start + place, [view for view, flag in zip(views, flags, strict=True) if flag]


def views_of(data: CacheSource, split: str) -> list[int]:
    """Return the views that are asked for of a split's samples."""
    return list(range(cast(int, data.views))) if split == "train" else [EVAL_VIEW]


def _texts(table: StoredTable, data: CacheSource, split: str) -> Iterator[str]:
    places = data.everything(split).walk(listed=True)
    texts = list(dict.fromkeys(each for place in places for each in texts_of_sample(place.sample, table.reads)))
    missing = missing_texts(table, texts)
    if missing:
        yield f"{len(missing)} of {len(texts)} {split} texts, such as {missing[0][0]!r}"


def _samples(store: Store, table: StoredTable, data: CacheSource, split: str) -> Iterator[str]:
    samples, views, may_lack = data.everything(split), views_of(data, split), left_out(store, data, split)
    places = (each for each in samples.walk(listed=True) if all(map(each.sample.has, table.reads)))
    without = {each.name: may_lack(each) for each in places}
    every = list(without)
    texts = [each for each in table.reads if each in TEXTS]
    if texts:
        missing = _missing_together(table, samples, texts, set(every), views)
    else:
        missing = {every[place]: new for place, new in missing_views(table, every, views)}
    missing = {name: new for name, new in missing.items() if len(new) < len(views) or not without[name]}
    if missing:
        name, new = next(iter(missing.items()))
        example = repr(name) if len(new) == len(views) else f"view {new[0]} of {name!r}"
        yield f"{len(missing)} of {len(every)} {split} samples, such as {example}"


def _missing_together(
    table: StoredTable, samples: Samples, texts: Sequence[str], names: set[str], views: Sequence[int]
) -> Mapping[str, list[int]]:
    """Return the missing views of samples that are answered together with the caption that a view takes."""
    listed = {name: range(count) for name, count in samples.counts.items() if name not in samples.unlisted}
    text, source = (_unread if each in texts else None for each in ("text", "source"))
    found: dict[str, list[int]] = {}
    for batch in samples.batches(Grid(listed.items(), views, AT_ONCE), Preprocess(text=text, source=source)):
        if batch is not None:
            rows = table.find(keys_of(table.reads, batch, [True] * len(batch["id"])))
            for name, view, row in zip(batch["id"], batch["view"], rows.tolist(), strict=True):
                if row < 0 and name in names:
                    found.setdefault(name, []).append(view)
    return found


def _unread(texts: list[str]) -> Tensor:
    """Stand in for a tokenizer where the texts themselves are wanted."""
    return torch.zeros(len(texts), 1, dtype=torch.long)
