"""Several sources together: their feeds, and what is known of all their samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import PIL
import torch
import torchvision

from kdmm.data.feed import Feed
from kdmm.data.source import SPLITS, Source, Split
from kdmm.errors import InputError

__all__ = ["Mixture"]

ONLY_SOURCE = "data"


class Mixture:
    """The sources of a DataModule: all of them for training, the first for validation and testing.

    Args:
        sources: one, or several by name.
        seed: of the data order.

    Raises:
        InputError: no source.
    """

    def __init__(self, sources: Source | Mapping[str, Source], seed: int) -> None:
        self.sources = dict(sources) if isinstance(sources, Mapping) else {ONLY_SOURCE: sources}
        if not self.sources:
            raise InputError("sources: none given; give at least one.")
        self.first = next(iter(self.sources))
        self.seed = seed
        self._feeds: dict[tuple[str, Split], Feed] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_feeds": {}}  # read again

    def names(self, split: Split) -> list[str]:
        """Return the sources that a split is read from."""
        return list(self.sources) if split == "train" else [self.first]

    def feed(self, name: str, split: Split) -> Feed:
        """Return the feed of a source's split, read once."""
        key = (name, split)
        if key not in self._feeds:
            self._feeds[key] = self.sources[name].feed(split, name, self.seed)
        return self._feeds[key]

    def feeds(self, split: Split) -> dict[str, Feed]:
        """Return the feeds of a split by source."""
        return {name: self.feed(name, split) for name in self.names(split)}

    def has(self, split: Split) -> bool:
        """Return whether the first source has a split."""
        return split in self.sources[self.first].splits

    @property
    def has_maps(self) -> bool:
        """Whether a source has a map of classes for some of its pictures."""
        return any("label_map" in source.classes for source in self.sources.values())

    def texts(self, splits: Iterable[Split]) -> list[str]:
        """Return every caption of these splits once, in a fixed order.

        Raises:
            InputError: a source gives no list of its samples.
        """
        return list(
            dict.fromkeys(
                caption
                for split in splits
                for feed in self.feeds(split).values()
                for sample in feed.samples
                for caption in sample.captions
            )
        )

    def examples(self, split: Split, count: int, modality: str) -> list[tuple[Any, str]]:
        """Return up to ``count`` media with their first captions, spread evenly over a split of the first source.

        Args:
            split: the split.
            count: how many at most.
            modality: of the media.
        """
        every = self.feed(self.first, split).samples
        pairs = [each for each in every if modality in each.media and each.captions]
        chosen = [pairs[n * len(pairs) // count] for n in range(count)] if count < len(pairs) else pairs
        return [(each.media[modality].open(), each.captions[0]) for each in chosen]

    def describe(self, split: Split) -> dict[str, Any]:
        """Return what a split of the first source holds, for reports."""
        return {
            **self.sources[self.first].describe(split),
            "split": split,
            **self.feed(self.first, split).describe(),
        }

    def fingerprint(self, facts: Mapping[str, str], marked: bool) -> str:
        """Return what names everything that decides a view: the files' content, what is done to it, versions.

        Args:
            facts: what is done to every view, by name.
            marked: whether what is marked in pictures counts: a transform may look at it.
        """
        digest = hashlib.blake2b(digest_size=16)
        decisive = [dict(facts), PIL.__version__, torchvision.__version__, torch.__version__]
        digest.update(json.dumps(decisive).encode())
        for split in SPLITS:
            for name in self.names(split):
                if split in self.sources[name].splits:
                    feed = self.feed(name, split)
                    if feed.shards:
                        digest.update(f"{split} {name} {feed.identities()}\n".encode())
                        continue
                    for sample in feed.samples:
                        media = " ".join(f"{modality} {ref.identity()}" for modality, ref in sample.media.items())
                        if marked and sample.marks is not None:
                            media += f" marks {sample.marks.identity()}"
                        digest.update(f"{split} {name} {sample.id} {media}\n".encode())
        return digest.hexdigest()
