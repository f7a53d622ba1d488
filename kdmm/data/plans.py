"""Which samples each batch asks its feeds for, planned in the main process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch.utils.data import Sampler

from kdmm.data.feed import Feed, Place, Turn
from kdmm.data.sample import Sample
from kdmm.errors import InputError

__all__ = ["EvaluationPlan", "Plan", "Position", "TrainingPlan", "ViewPlan"]


class Plan(Sampler[Mapping[str, Any]]):
    """Gives the requests of one batch after the other, each a mapping from source to request."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of batches of an iteration from the begin, the same on every rank."""

    @abstractmethod
    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the requests."""


class Position:
    """The next training batch: ``batch`` of the pass ``epoch`` over the first source."""

    def __init__(self, epoch: int = 0, batch: int = 0) -> None:
        self.epoch = epoch
        self.batch = batch

    def move(self, epoch: int, batch: int) -> None:
        """Go to a batch."""
        self.epoch, self.batch = epoch, batch

    def set_epoch(self, epoch: int) -> None:
        """Go to the begin of an epoch; inside that epoch, stay. Lightning calls this before each epoch."""
        if epoch != self.epoch:
            self.move(epoch, 0)


class TrainingPlan(Plan):
    """The rest of the epoch that the position is in.

    Args:
        feeds: by source; an epoch is a pass over the first.
        counts: samples of each source in a batch of one rank.
        place: this process.
        position: where to begin.
    """

    def __init__(self, feeds: Mapping[str, Feed], counts: Mapping[str, int], place: Place, position: Position) -> None:
        self.feeds = feeds
        self.counts = counts
        self.place = place
        self.position = position
        self.first = next(iter(feeds))
        self.batches = len(feeds[self.first]) // (counts[self.first] * place.world)
        if not self.batches:
            raise InputError(
                f"batch_size: {counts[self.first]} on each of {place.world} process(es) is more than the source "
                f"{self.first!r} has: {len(feeds[self.first])} training samples. Set a smaller one: an incomplete "
                "batch is left out."
            )

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        epoch = self.position.epoch
        for batch in range(self.position.batch, self.batches):
            yield {
                name: feed.training_request(
                    Turn(epoch, batch, self.batches, self.counts[name], name == self.first, self.place)
                )
                for name, feed in self.feeds.items()
            }


class EvaluationPlan(Plan):
    """Every sample once, over all ranks, in order: rank r takes each r-th of ``world``.

    All ranks have the same number of batches, of nearly equal size. A rank that has fewer samples than batches gives
    its last one again; its id tells.

    Args:
        name: the source.
        feed: its feed.
        batch_size: of one rank, at most.
        place: this process.
    """

    def __init__(self, name: str, feed: Feed, batch_size: int, place: Place) -> None:
        self.name = name
        self.feed = feed
        most = -(-len(feed) // place.world)
        self.batches = -(-most // batch_size)
        rows = list(range(place.rank, len(feed), place.world)) or [len(feed) - 1]
        self.rows = rows + rows[-1:] * (self.batches - len(rows))

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for batch in range(self.batches):
            begin, end = (number * len(self.rows) // self.batches for number in (batch, batch + 1))
            yield {self.name: self.feed.evaluation_request(self.rows[begin:end])}


class ViewPlan(Plan):
    """Source by source and view by view, the samples that have a modality, all of them on every rank.

    Args:
        samples: by source.
        modality: that the samples have.
        views: their numbers.
        batch_size: of a batch.
    """

    def __init__(
        self, samples: Mapping[str, Sequence[Sample]], modality: str, views: Sequence[int], batch_size: int
    ) -> None:
        self.rows = {
            name: [row for row, sample in enumerate(some) if sample.has(modality)] for name, some in samples.items()
        }
        self.views = views
        self.batch_size = batch_size

    def __len__(self) -> int:
        return sum(len(self.views) * -(-len(rows) // self.batch_size) for rows in self.rows.values())

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for name, rows in self.rows.items():
            for view in self.views:
                for start in range(0, len(rows), self.batch_size):
                    yield {name: [(row, view) for row in rows[start : start + self.batch_size]]}
