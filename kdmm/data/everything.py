"""All samples of a split at their positions, for what looks at each of them once, such as the cache of a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kdmm.data.batches import BatchMaker, Failure
from kdmm.data.feed import Feed
from kdmm.data.loader import MODEL, Loader
from kdmm.data.plans import Plan
from kdmm.data.sample import BadSample, Sample
from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess

__all__ = ["Everything", "Place"]

AT_ONCE = 64  # samples that are walked over together: those behind URLs are in memory with their media's bytes
READERS = 16  # threads, which wait for disks most of the time


@dataclass(frozen=True)
class Place:
    """Where a sample is.

    Args:
        source: by its name in the DataModule.
        position: among the source's samples.
        name: the sample's id over all sources, as batches have it.
        sample: the sample.
    """

    source: str
    position: int
    name: str
    sample: Sample


class Everything:
    """All samples of a split, whether their sources list them or are read from front to back.

    Args:
        feeds: of the split, by source.
        maker: makes what answers requests to feeds, for a model's preprocessing.
        prefixed: whether the source's name is put before the samples' ids.
        canvas: of the DataModule; without one nothing looks at marks.
        workers: processes that read.
        opened: is told of every loader.
    """

    def __init__(
        self,
        feeds: Mapping[str, Feed],
        maker: Callable[[Mapping[str, Feed], Mapping[str, Preprocess]], BatchMaker],
        prefixed: bool,
        canvas: tuple[int, int] | None,
        workers: int,
        opened: Callable[[Loader], Loader],
    ) -> None:
        self.feeds = dict(feeds)
        self.canvas = canvas
        self.workers = workers
        self._maker = maker
        self._prefixed = prefixed
        self._opened = opened

    @property
    def counts(self) -> dict[str, int]:
        """How many positions each source has."""
        return {name: feed.reach for name, feed in self.feeds.items()}

    @property
    def unlisted(self) -> list[str]:
        """The sources whose samples are not known before they are read: shards behind URLs."""
        return [name for name, feed in self.feeds.items() if feed.walk() is None]

    def identities(self) -> dict[str, dict[str, str]]:
        """Return what changes with the content of each shard, by its name, of each source that has shards."""
        return {name: feed.identities() for name, feed in self.feeds.items() if feed.shards}

    def identified(self, modalities: Sequence[str]) -> Iterator[tuple[Place, str]]:
        """Yield every sample of the sources without shards, with what changes when its media do.

        Several threads read the files. A first start takes as long as the disk does; later ones look at a file's size
        and times alone, 40,000 files a second.

        Args:
            modalities: whose media count.
        """
        places = (each for name, feed in self.feeds.items() if not feed.shards for each in self._places(name, feed))
        with ThreadPoolExecutor(READERS) as pool:
            while window := list(islice(places, READERS * AT_ONCE)):
                parts = [window[start : start + AT_ONCE] for start in range(0, len(window), AT_ONCE)]
                found = pool.map(lambda part: [self._identity(each.sample, modalities) for each in part], parts)
                for part, identities in zip(parts, found, strict=True):
                    yield from zip(part, identities, strict=True)

    def walk(self, listed: bool = False) -> Iterator[Place]:
        """Yield every sample in order; one whose texts cannot be read is passed over.

        The media of shards are there without their content: `batches` reads it.

        Args:
            listed: leave out the sources that are `unlisted`.
        """
        for source, feed in self.feeds.items():
            if not (listed and feed.walk() is None):
                yield from self._places(source, feed)

    def _places(self, source: str, feed: Feed) -> Iterator[Place]:
        known = feed.walk()
        for row, sample in enumerate(_read(feed) if known is None else known):
            if isinstance(sample, Sample):
                yield Place(source, row, f"{source}/{sample.id}" if self._prefixed else sample.id, sample)

    def _identity(self, sample: Sample, modalities: Sequence[str]) -> str:
        media = " ".join(f"{name} {ref.identity()}" for name, ref in sample.media.items() if name in modalities)
        marked = self.canvas is not None and sample.marks is not None and "image" in modalities
        return f"{media} marks {sample.marks.identity()}" if marked and sample.marks is not None else media

    def batches(
        self, requests: Sequence[tuple[str, Sequence[int], int]], preprocess: Preprocess
    ) -> Iterator[dict[str, Any] | None]:
        """Yield a batch a request, of the samples that have all that is read; ``None`` where there is none.

        A batch holds ``id``, ``view``, ``caption`` and ``source_text`` as in training, and what the model reads.

        Args:
            requests: (source, positions, view), whose positions in a source never fall.
            preprocess: of what is read.

        Raises:
            InputError: a sample is bad, and bad ones stop the run.
        """
        feeds = {name: _Chosen(feed, preprocess.modalities) for name, feed in self.feeds.items()}
        loader = _Requested(self._maker(feeds, {MODEL: preprocess}), _Requests(requests), self.workers)
        self._opened(loader)
        try:
            yield from loader
        finally:
            loader.close()


def _read(feed: Feed) -> Iterator[Sample | BadSample]:
    """Read a feed from front to back."""
    for start in range(0, len(feed), AT_ONCE):
        rows = range(start, min(start + AT_ONCE, len(feed)))
        yield from (sample for sample, _ in feed.read(feed.evaluation_request(rows)))


class _Chosen(Feed):
    """The samples of a feed at chosen positions under a chosen view, but for those that lack what is read."""

    def __init__(self, feed: Feed, modalities: Sequence[str]) -> None:
        super().__init__(feed.name, feed.seed)
        self.feed = feed
        self.modalities = tuple(modalities)
        self._last: tuple[Sequence[int], list[tuple[Sample | BadSample, int]]] = ((), [])

    def __len__(self) -> int:
        return len(self.feed)

    @property
    def samples(self) -> Sequence[Sample]:
        """Those of the feed."""
        return self.feed.samples

    def describe(self) -> dict[str, int]:
        """Describe the feed."""
        return self.feed.describe()

    def training_request(self, turn: Any) -> Any:
        """Return the feed's."""
        return self.feed.training_request(turn)

    def evaluation_request(self, rows: Sequence[int]) -> tuple[Sequence[int], int]:
        """Return (positions, the view without augmentation)."""
        return rows, -1

    def read(self, request: tuple[Sequence[int], int]) -> list[tuple[Sample | BadSample, int]]:
        """Return the samples; those that were read last are kept: they come again under the next view."""
        rows, view = request
        if rows != self._last[0]:
            self._last = (rows, self.feed.read(self.feed.evaluation_request(rows)))
        return [(sample, view) for sample, _ in self._last[1] if self._is_read(sample)]

    def _is_read(self, sample: Sample | BadSample) -> bool:
        return isinstance(sample, BadSample) or all(sample.has(modality) for modality in self.modalities)


class _Requests(Plan):
    def __init__(self, requests: Sequence[tuple[str, Sequence[int], int]]) -> None:
        self.requests = requests

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for source, rows, view in self.requests:
            yield {source: (rows, view)}


class _Requested(Loader):
    """Answers every request, with ``None`` where no sample is left."""

    def __init__(self, maker: BatchMaker, plan: Plan, workers: int) -> None:
        super().__init__(maker, plan, workers, persistent=False)

    def __iter__(self) -> Iterator[dict[str, Any] | None]:  # type: ignore[override]  # a place for every request
        for carried in self._loader:
            batch = carried.content
            if isinstance(batch, Failure):
                if not batch.all_skipped:
                    raise InputError(batch.message)
                yield None
            else:
                yield {**batch, **batch.pop(MODEL)}
