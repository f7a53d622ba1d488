"""WebDataset shards: tars of media and captions, read from front to back, for what does not fit in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdmm.data.feed import Feed
from kdmm.data.sample import Sample
from kdmm.data.shards import count_samples, expand, is_web
from kdmm.data.source import SPLITS, Source, Split
from kdmm.data.stream import Stream
from kdmm.errors import InputError, nearest

__all__ = ["WebDataset"]


class WebDataset(Source):
    """Shards in WebDataset's form (https://github.com/webdataset/webdataset): ``.tar`` files, or by http(s).

    A sample is the files of one name: ``.jpg``, ``.jpeg``, ``.png`` or ``.webp``; ``.flac``, ``.wav``, ``.ogg`` or
    ``.mp3``; a film (``.mp4`` and others), ``.gif``, ``.clip.webp`` or ``.clip.png``, which are clips; and ``.txt`` or
    ``.json`` with the caption, or a list of them, under ``caption``. Its id is the shard's file name and its own.

    Shards are dealt out to processes and to their workers, anew for every pass, and samples are shuffled in a buffer.
    Which samples a batch holds depends on the number of workers too, so a run is resumed with the same number. A worker
    that resumes reads its shards of the pass again up to where it was, without decoding them.

    Args:
        urls: paths or URLs of the train shards, with braces for several (``shards/{000..099}.tar``), or one entry a
            split.
        samples: how many samples the train shards hold, or one number a split; ``None`` counts local shards by their
            headers, once while they are the same. A pass ends after as many.
        shuffle: samples in the buffer that each reader draws from; 0 keeps the order within a shard.
        caption: the key of the caption in ``.json`` files.
        labels: each the ending of a file that holds a class number, such as ``cls``, or a key in ``.json`` files. A
            sample that lacks one of them is a bad one.
        unlabelled: whether a sample may be without a class (no such file or key, an empty one, or -1).
    """

    def __init__(
        self,
        urls: str | Sequence[str] | Mapping[str, str | Sequence[str]],
        samples: int | Mapping[str, int] | None = None,
        shuffle: int = 1000,
        caption: str = "caption",
        labels: Sequence[str] = (),
        unlabelled: bool = False,
    ) -> None:
        by_split = urls if isinstance(urls, Mapping) else {"train": urls}
        self.counts = dict(samples) if isinstance(samples, Mapping) else {"train": samples}
        for setting, names in (("urls", by_split), ("samples", self.counts)):
            for name in names:
                if name not in SPLITS:
                    raise InputError(
                        f"WebDataset.{setting}: unknown split {name!r}. Accepted: {', '.join(SPLITS)}."
                        + nearest(name, SPLITS)
                    )
        self.urls = urls
        self.shuffle = shuffle
        self.caption = caption
        self.labels = tuple(labels)
        self.unlabelled = unlabelled
        self.shards = {split: expand(by_split[split], "WebDataset.urls") for split in SPLITS if split in by_split}

    def __str__(self) -> str:
        return f"WebDataset({self.urls!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those that ``urls`` names."""
        return tuple(self.shards)

    def read(self, split: Split) -> Sequence[Sample]:
        """Refuse: shards have no places to look samples up by."""
        raise InputError(
            f"{self} is read from front to back and gives no list of its samples. Precomputed teachers, "
            "Captioned and Only need one: give them a PairTable or CocoCaptions."
        )

    def feed(self, split: Split, name: str, seed: int) -> Feed:
        """Return what reads the shards of a split."""
        self.check_split(split)
        shards = self.shards[split]
        total = self.counts.get(split)
        if total is None:
            if any(map(is_web, shards)):
                raise InputError(
                    f"WebDataset.samples: shards behind URLs are not counted. State how many samples those of {split} "
                    "hold."
                )
            total = sum(count_samples(shard) for shard in shards)
        if total < 1:
            raise InputError(f"{self}: its {split} split has no samples.")
        return Stream(
            shards, total, name, seed, self.shuffle, self.caption, self.labels, self.unlabelled, split == "train"
        )
