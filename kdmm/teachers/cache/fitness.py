"""Whether a store is as it was written, and was made for what it is used for."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from kdmm.distributed import all_reduce_sum, rank, world_size
from kdmm.errors import InputError
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.facts import differences, facts_of_data, facts_of_teacher
from kdmm.teachers.cache.files import file_checksum, wrong_size
from kdmm.teachers.cache.finishing import MANIFEST
from kdmm.teachers.cache.keys import TEXTS
from kdmm.teachers.cache.store import Store
from kdmm.teachers.teacher import Running
from kdmm.views import stable_hash

__all__ = ["check_data", "check_files", "check_samples", "check_teacher", "check_views"]

REMEDY = "Write a store for it with `kdmm cache`, or give the setting that the store was made with."


def check_files(store: Store, content: bool = True, device: torch.device | None = None) -> None:
    """Refuse a store that is not as it was written. Each rank reads its share of the files.

    Args:
        store: that was written.
        content: compare checksums too, which reads every file once.
        device: where the ranks exchange how many are damaged.

    Raises:
        InputError: a file is missing, cut off or changed; the message names it.
    """
    files = [(store.folder / note["file"], note) for note in store.files()]
    bad = [message for path, note in files if (message := wrong_size(path, note["bytes"]))]
    if content and not bad:
        own = files[rank() :: world_size()]
        with ThreadPoolExecutor() as pool:  # a checksum is made outside Python's lock
            found = pool.map(lambda each: file_checksum(each[0]) == each[1]["checksum"], own)
        bad = [
            f"{path} is damaged: it does not have the checksum that {MANIFEST} tells"
            for (path, _), whole in zip(own, found, strict=True)
            if not whole
        ]
    total = int(all_reduce_sum(torch.tensor(len(bad), device=device)))
    if total:
        named = bad[0] if bad else f"A file of the store {store.folder} is damaged, as another process tells"
        raise InputError(f"{named}. {store.remedy}")
    for each in store.added:
        check_files(each, content, device)


def check_data(store: Store, data: CacheSource) -> None:
    """Refuse data that are augmented otherwise than the store's.

    Raises:
        InputError: a fact differs; the message names it and both values.
    """
    _refuse(store, differences(store.facts, facts_of_data(data.facts, store.read)))


def check_teacher(store: Store, teachers: Mapping[str, Running]) -> None:
    """Refuse a running teacher that is not the store's.

    Args:
        store: that was written.
        teachers: by their names in a batch.

    Raises:
        InputError: a fact differs; the message names it and both values.
    """
    if set(teachers) != set(store.parts):
        raise InputError(
            f"The store {store.folder} holds answers of {', '.join(store.parts)}, and the running teacher is "
            f"{', '.join(teachers)}. Give the one that the store was made with."
        )
    here: dict[str, str] = {}
    for part, teacher in teachers.items():
        here |= facts_of_teacher(part, teacher)
    _refuse(store, differences(store.facts, here))


def check_views(store: Store, data: CacheSource, splits: Iterable[str]) -> None:
    """Refuse training on views that the store has of no sample, or not of shards whose samples are not known.

    Raises:
        InputError: there are more of them, or a new one in every pass.
    """
    if "train" not in splits or all(each in TEXTS for each in store.read):
        return
    written = [store, *store.added]
    samples = data.everything("train")
    shards = {name: samples.identities()[name] for name in samples.unlisted}
    of_shards = [max(_views_of_shards(each, *source) for each in written) for source in shards.items()]
    most = min([max(int(each.manifest["views"]) for each in written), *of_shards])
    if data.views is None or data.views > most:
        raise InputError(
            f"views: the DataModule has `views: {'null' if data.views is None else data.views}`, and the store "
            f"{store.folder} has {most}. Set `data.views` to as many, add more with `fill: online` and the running "
            "`teacher`, take kdmm.teachers.Hybrid, or write a new store with `kdmm cache`."
        )


def check_samples(store: Store, data: CacheSource, splits: Iterable[str]) -> None:
    """Refuse samples and shards that are called as the store's but have another content.

    Args:
        store: that was written.
        data: the DataModule.
        splits: which of its splits.

    Raises:
        InputError: a sample or a shard is another; the message names it.
    """
    for split in splits:
        if not data.has(split):
            continue
        known, samples = store.media(split), data.everything(split)
        for source, shards in samples.identities().items():
            stored = dict(ChainMap(*(each.shards(split).get(source, {}) for each in (store, *store.added))))
            _refuse(store, differences(_named(source, stored, stored), _named(source, shards, stored)))
        for place, identity in samples.identified(store.manifest["media"]):
            if any(place.sample.has(each) for each in store.manifest["media"]):
                _check_media(store, place, known, identity, split)


def _check_media(store: Store, place: Any, known: Mapping[int, int], identity: str, split: str) -> None:
    """Refuse a sample that is known with other media."""
    media = known.get(stable_hash(place.name))
    if media is not None and media != stable_hash(identity):
        raise InputError(
            f"The store {store.folder} was not made for the {split} sample {place.name!r} ({place.sample.origin}): "
            f"its file has another content. Was it changed, or were the rows of a table without ids shuffled? {REMEDY}"
        )


def _views_of_shards(store: Store, source: str, shards: Mapping[str, str]) -> int:
    """Return how many views a store, or an added one, has of all shards of a source."""
    return int(store.manifest["views"]) if shards.items() <= store.shards("train").get(source, {}).items() else 0


def _refuse(store: Store, differ: Sequence[str]) -> None:
    if differ:
        raise InputError(f"The store {store.folder} was not made for this: {'; '.join(differ)}. {REMEDY}")


def _named(source: str, shards: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    return {f"shard {name} of {source}": x for name, x in shards.items() if name in known}
