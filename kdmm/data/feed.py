"""In what order the samples of a source are given, as a pure function of seed, epoch, batch and rank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kdmm.data.sample import BadSample, Sample
from kdmm.views import stable_hash

__all__ = ["EVAL_PASS", "Feed", "Indexed", "Place", "Turn"]

EVAL_PASS = -1
"""Stands for the pass number in evaluation, where nothing is shuffled or augmented."""


@dataclass(frozen=True)
class Place:
    """Where a process stands among all of them.

    Args:
        rank: its number.
        world: how many there are.
        readers: worker processes that each of them reads with, at least 1.
    """

    rank: int = 0
    world: int = 1
    readers: int = 1


@dataclass(frozen=True)
class Turn:
    """One source's part in one training batch of one process.

    Args:
        epoch: passes over the first source so far.
        batch: the batch's number in the epoch, on this rank.
        batches: batches an epoch, the same on all ranks.
        count: samples that this source gives to each batch of each rank.
        first: whether the epochs are the passes over this source; other sources go round by themselves.
        place: the process.
    """

    epoch: int
    batch: int
    batches: int
    count: int
    first: bool
    place: Place


class Feed(ABC):
    """Gives the samples of one split of one source, batch by batch.

    A request is made in the main process and is a pure function of its arguments; it is answered in any worker.

    Args:
        name: the source's name; its shuffle is seeded by it.
        seed: of the run's data order.
    """

    depends_on_readers: ClassVar[bool] = False
    """Whether the order of the samples depends on the number of workers too."""
    shards: Sequence[str] = ()
    """Paths or URLs of what is read from front to back; none where the samples are a list."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.seed = seed

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples, over all ranks."""

    @property
    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """The list of all samples.

        Raises:
            InputError: the feed has none.
        """

    @property
    def reach(self) -> int:
        """How many positions there are to look at, which may be more than a pass gives."""
        return len(self)

    def walk(self) -> Iterator[Sample | BadSample] | None:
        """Yield every sample in order, the media of shards without their content; ``None``: they are not known."""
        return iter(self.samples)

    def identities(self) -> dict[str, str]:
        """Return what changes when the content of each shard does, by its name."""
        return {}

    @abstractmethod
    def describe(self) -> dict[str, int]:
        """Return how many of what there are, for reports."""

    @abstractmethod
    def training_request(self, turn: Turn) -> Any:
        """Return what to read for one training batch; it can be pickled."""

    @abstractmethod
    def evaluation_request(self, rows: Sequence[int]) -> Any:
        """Return what to read for the samples at these positions, which rise from request to request."""

    @abstractmethod
    def read(self, request: Any) -> list[tuple[Sample | BadSample, int]]:
        """Return the samples of a request, each with its pass, `EVAL_PASS` in evaluation."""


class Indexed(Feed):
    """The feed of a source whose samples are all known.

    Of the first source, each pass gives every sample at most once over all ranks: what does not fill a batch on every
    rank is left out. The others go round without a gap: each pass gives every sample exactly once.

    Args:
        samples: all of them.
        name: the source's name.
        seed: of the run's data order.
    """

    def __init__(self, samples: Sequence[Sample], name: str, seed: int) -> None:
        super().__init__(name, seed)
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def samples(self) -> Sequence[Sample]:
        """All of them."""
        return self._samples

    def describe(self) -> dict[str, int]:
        """Count samples, pictures, sounds, clips, captions and concepts."""
        sounds, clips = (sum(sample.has(name) for sample in self._samples) for name in ("audio", "video"))
        return {
            "samples": len(self),
            "images": sum(sample.image is not None for sample in self._samples),
            **({"sounds": sounds} if sounds else {}),
            **({"clips": clips} if clips else {}),
            "captions": sum(len(sample.captions) for sample in self._samples),
            "concepts": len({sample.id if sample.group is None else sample.group for sample in self._samples}),
        }

    def training_request(self, turn: Turn) -> list[tuple[int, int]]:
        """Return (position, pass) of each sample."""
        places = self.places(turn)
        return [(int(_order(self.seed, self.name, number, len(self))[at]), number) for number, at in places]

    def pass_length(self, turn: Turn) -> int:
        """Return how many samples a pass gives, over all ranks."""
        return turn.batches * turn.place.world * turn.count if turn.first else len(self)

    def places(self, turn: Turn) -> list[tuple[int, int]]:
        """Return (pass, place in the pass) of each sample."""
        step = turn.place.world * turn.count
        start = (turn.epoch * turn.batches + turn.batch) * step + turn.place.rank * turn.count
        return [divmod(at, self.pass_length(turn)) for at in range(start, start + turn.count)]

    def evaluation_request(self, rows: Sequence[int]) -> list[tuple[int, int]]:
        """Return (position, `EVAL_PASS`) of each sample."""
        return [(row, EVAL_PASS) for row in rows]

    def read(self, request: list[tuple[int, int]]) -> list[tuple[Sample | BadSample, int]]:
        """Look the samples up."""
        return [(self._samples[row], number) for row, number in request]


@lru_cache(maxsize=8)  # two passes of each of a few sources are in use at once
def _order(seed: int, name: str, number: int, length: int) -> NDArray[np.int64]:
    """Return the shuffle of one pass."""
    return np.random.Generator(np.random.PCG64(stable_hash(seed, name, number))).permutation(length)
