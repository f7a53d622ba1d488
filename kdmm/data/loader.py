"""Loaders: from a plan of requests to batches, from any place on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from kdmm.data.batches import BatchMaker, Failure, map_tensors, start_worker
from kdmm.data.feed import Feed, Place, Turn
from kdmm.errors import InputError

__all__ = ["EvaluationLoader", "Loader", "Position", "TrainingLoader"]


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


class Loader(ABC):
    """Batches in an order that is planned in the main process, made here or in workers.

    It is no DataLoader, so that Lightning puts no sampler of its own into it.

    Args:
        maker: answers the requests.
        workers: processes that do; 0: this one.
    """

    def __init__(self, maker: BatchMaker, workers: int) -> None:
        self._loader = DataLoader(
            maker,
            batch_size=None,
            sampler=_Plan(self),
            collate_fn=_Carried,
            num_workers=workers,
            worker_init_fn=start_worker if workers else None,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # a loader draws a seed for its workers: not from the run's generator
        )

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of batches an epoch, the same on every rank."""

    @abstractmethod
    def requests(self) -> Iterator[Mapping[str, Any]]:
        """Yield the requests for each batch, by source, from where the loader stands."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield batches. Nothing is read before the first is asked for.

        Raises:
            InputError: a sample is bad, or a source cannot go on.
        """
        for batch in self.made():
            if isinstance(batch, Failure):
                raise InputError(batch.message)
            yield batch

    def made(self) -> Iterator[dict[str, Any] | Failure]:
        """Yield batches as the workers made them."""
        for carried in self._loader:
            yield carried.content

    def close(self) -> None:
        """End the workers; a new iteration starts others."""
        iterator, self._loader._iterator = self._loader._iterator, None
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            iterator._shutdown_workers()  # DataLoader has no public way to end workers that persist


class _Carried:
    """Carries a batch through DataLoader, which would make lists of its tuples and split the tensors that it shares."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def pin_memory(self) -> _Carried:
        return _Carried(map_tensors(self.content, torch.Tensor.pin_memory))


class _Plan(Sampler[Mapping[str, Any]]):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return self.loader.requests()


class TrainingLoader(Loader):
    """The training batches of this rank, endless over epochs: each iteration ends with the epoch.

    Lightning moves it by ``batch_sampler.sampler.set_epoch`` and by its checkpoints.

    Args:
        maker: answers the requests.
        workers: processes that do.
        feeds: by source; an epoch is a pass over the first.
        counts: samples of each source in a batch of one rank.
        place: this process.
        position: where to begin; it moves along.
    """

    def __init__(
        self,
        maker: BatchMaker,
        workers: int,
        feeds: Mapping[str, Feed],
        counts: Mapping[str, int],
        place: Place,
        position: Position,
    ) -> None:
        super().__init__(maker, workers)
        self.feeds = feeds
        self.counts = counts
        self.place = place
        self.position = position
        self.batch_sampler = SimpleNamespace(sampler=position)
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

    def requests(self) -> Iterator[Mapping[str, Any]]:
        """Yield the requests of the rest of the epoch."""
        epoch = self.position.epoch
        for batch in range(self.position.batch, self.batches):
            yield {
                name: feed.training_request(
                    Turn(epoch, batch, self.batches, self.counts[name], name == self.first, self.place)
                )
                for name, feed in self.feeds.items()
            }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rest of the epoch, and move the position along."""
        if self.position.batch >= self.batches:
            self.position.move(self.position.epoch + 1, 0)
        epoch, first = self.position.epoch, self.position.batch
        for number, batch in enumerate(super().__iter__(), start=first + 1):
            self.position.move(*((epoch, number) if number < self.batches else (epoch + 1, 0)))
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands: Lightning keeps it in its checkpoints."""
        return {"epoch": self.position.epoch, "batch": self.position.batch, "readers": self.place.readers}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to where a checkpoint stood.

        Raises:
            InputError: the number of workers has changed, and a source's order depends on it.
        """
        fixed = [name for name, feed in self.feeds.items() if feed.depends_on_readers]
        if fixed and state["readers"] != self.place.readers:
            raise InputError(
                f"workers: the run was started with {state['readers']}, and the order of the source {fixed[0]!r} "
                "depends on it. Resume with the same number (0 and 1 are the same)."
            )
        self.position.move(state["epoch"], state["batch"])


class EvaluationLoader(Loader):
    """Every sample once, over all ranks, in order: rank r takes each r-th of ``world``.

    All ranks have the same number of batches, of nearly equal size. A rank that has fewer samples than batches gives
    its last one again; its id tells.

    Args:
        maker: answers the requests.
        workers: processes that do.
        name: the source.
        feed: its feed.
        batch_size: of one rank, at most.
        place: this process.
    """

    def __init__(self, maker: BatchMaker, workers: int, name: str, feed: Feed, batch_size: int, place: Place) -> None:
        super().__init__(maker, workers)
        self.name = name
        self.feed = feed
        most = -(-len(feed) // place.world)
        self.batches = -(-most // batch_size)
        rows = list(range(place.rank, len(feed), place.world)) or [len(feed) - 1]
        self.rows = rows + rows[-1:] * (self.batches - len(rows))

    def __len__(self) -> int:
        return self.batches

    def requests(self) -> Iterator[Mapping[str, Any]]:
        """Yield the requests of all batches."""
        for rows in _even_parts(self.rows, self.batches):
            yield {self.name: self.feed.evaluation_request(rows)}


def _even_parts(rows: Sequence[int], parts: int) -> Iterator[Sequence[int]]:
    for part in range(parts):
        yield rows[part * len(rows) // parts : (part + 1) * len(rows) // parts]
