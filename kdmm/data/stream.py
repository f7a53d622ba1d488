"""The feed of shards: which reader reads what, as a pure function, and reading it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, takewhile
from pathlib import PurePosixPath
from typing import Any

from kdmm.data.feed import EVAL_PASS, Feed, Turn
from kdmm.data.files import hash_bytes, identity_of
from kdmm.data.sample import BadSample, Sample
from kdmm.data.shard_sample import sample_of
from kdmm.data.shards import count_samples, index_of, is_web, read_shard
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["Stream"]


@dataclass(frozen=True)
class _Span:
    """What to read: a stretch of a lane.

    A lane is an endless sequence of samples. It is the concatenation of passes of ``length`` samples; in each, the
    shards are shuffled and the lane takes every ``lanes``-th of them, again if they are too few, and not all if they
    are too many.

    Args:
        lane: its number.
        lanes: over all processes.
        start: position in the lane.
        count: how many samples.
        length: samples of a pass.
    """

    lane: int
    lanes: int
    start: int
    count: int
    length: int


class Stream(Feed):
    """The feed of a source that is read from front to back.

    Batch n of a process is read from its lane ``n % lanes``, which is one for each worker, so that each worker
    reads its own shards.

    Args:
        shards: paths or URLs.
        total: samples in them.
        name: the source's name.
        seed: of the run's data order.
        shuffle: samples in the shuffle buffer.
        caption: the key of the caption in JSON files.
        labels: endings of files with class numbers, or keys in JSON files.
        unlabelled: whether a sample may be without one of them.
        whole: whether later passes come to samples beyond ``total``, as in training.
    """

    depends_on_readers = True

    def __init__(
        self,
        shards: Sequence[str],
        total: int,
        name: str,
        seed: int,
        shuffle: int,
        caption: str,
        labels: Sequence[str] = (),
        unlabelled: bool = False,
        whole: bool = False,
    ) -> None:
        super().__init__(name, seed)
        self.shards = list(shards)
        self.total = total
        self.shuffle = shuffle
        self.caption = caption
        self.labels = tuple(labels)
        self.unlabelled = unlabelled
        self.whole = whole
        self.names = _names(shards)
        self._cursors: dict[tuple[int, int], _Cursor] = {}  # by (lane, lanes)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_cursors": {}}  # open files stay in their process

    def __len__(self) -> int:
        return self.total

    @property
    def samples(self) -> Sequence[Sample]:
        """Refuse: there is no list."""
        raise InputError(
            f"The source {self.name!r} is read from front to back and gives no list of its samples. What looks at all "
            "of them, such as Precomputed, needs a PairTable or CocoCaptions; `kdmm cache` stores a teacher's answers "
            "to such a stream, too."
        )

    @property
    def reach(self) -> int:
        """How many samples the shards of training hold, where they are local; otherwise those of a pass."""
        return self._held if self.whole and not self._is_remote else self.total

    def walk(self) -> Iterator[Sample | BadSample] | None:
        """Yield every sample in the order of the shards, its media without their bytes; ``None`` behind URLs.

        Raises:
            InputError: evaluation is to see more samples than there are.
        """
        return None if self._is_remote else self._walk()

    def identities(self) -> dict[str, str]:
        """Return what changes with the content of each shard, by its name; behind URLs nobody looks.

        It is what `index_of` finds, so every name, size and text, and what :func:`kdmm.data.files.identity_of` tells of
        the file.
        """
        found = {}
        for shard in self.shards:
            told = "" if is_web(shard) else f"{identity_of(shard, None)} {index_of(shard)}"
            found[self.names[shard]] = hash_bytes(told.encode("utf-8", "surrogatepass"))
        return found

    def describe(self) -> dict[str, int]:
        """Count samples and shards."""
        return {"samples": self.total, "shards": len(self.shards)}

    def training_request(self, turn: Turn) -> _Span:
        """Return the stretch of a lane that makes this batch."""
        world, rank = turn.place.world, turn.place.rank
        if len(self.shards) < world:
            raise InputError(
                f"The source {self.name!r} has {len(self.shards)} shards for {world} processes; each needs one of its "
                "own. Write more and smaller shards, or train on fewer devices."
            )
        lanes = max(1, min(turn.place.readers, len(self.shards) // world))
        lane = turn.batch % lanes
        per_epoch = -(-(turn.batches - lane) // lanes)  # batches from this lane
        return _Span(
            lane=rank * lanes + lane,
            lanes=world * lanes,
            start=(turn.epoch * per_epoch + turn.batch // lanes) * turn.count,
            count=turn.count,
            length=per_epoch * turn.count if turn.first else max(1, self.total // (world * lanes)),
        )

    def evaluation_request(self, rows: Sequence[int]) -> tuple[int, ...]:
        """Return the positions in the order of the shards."""
        return tuple(rows)

    def read(self, request: _Span | tuple[int, ...]) -> list[tuple[Sample | BadSample, int]]:
        """Read on from where this worker stands, or go there."""
        if isinstance(request, tuple):
            return [(self._sample(self._cursor(0, 1).at(EVAL_PASS, row)), EVAL_PASS) for row in request]
        cursor = self._cursor(request.lane, request.lanes)
        places = (divmod(at, request.length) for at in range(request.start, request.start + request.count))
        return [(self._sample(cursor.at(number, offset)), number) for number, offset in places]

    @cached_property
    def _is_remote(self) -> bool:
        return any(map(is_web, self.shards))

    @cached_property
    def _held(self) -> int:
        return sum(map(count_samples, self.shards))

    def _walk(self) -> Iterator[Sample | BadSample]:
        every = ((shard, *entry) for shard in self.shards for entry in index_of(shard))
        count = 0
        for shard, key, files in islice(every, self.reach):
            texts = {ending: x.encode("utf-8", "surrogateescape") if isinstance(x, str) else b""
                     for ending, x in files.items()}  # fmt: skip
            yield self._sample({"__url__": shard, "__key__": key, **texts})
            count += 1
        if count < self.reach:
            raise self.too_few(count)

    def too_few(self, count: int) -> InputError:
        """Return the error of shards that hold so many samples where more were stated."""
        return InputError(
            f"The shards of the source {self.name!r} hold {count} samples where {self.total} were stated. Correct "
            "WebDataset.samples."
        )

    def _cursor(self, lane: int, lanes: int) -> _Cursor:
        return self._cursors.setdefault((lane, lanes), _Cursor(self, lane, lanes))

    def passage(self, number: int, lane: int, lanes: int) -> Iterator[dict[str, Any]]:
        """Yield a lane's samples of one pass, undecoded; in training without end."""
        if number == EVAL_PASS:
            yield from (found for shard in self.shards for found in read_shard(shard))
            return
        every = list(self.shards)
        random.Random(stable_hash(self.seed, self.name, number)).shuffle(every)
        shards = every[lane::lanes]
        turn = 0
        while True:
            draw = random.Random(stable_hash(self.seed, self.name, number, lane, lanes, turn))
            if turn:
                draw.shuffle(shards)
            empty = True
            for found in _shuffled((found for shard in shards for found in read_shard(shard)), self.shuffle, draw):
                empty = False
                yield found
            if empty:
                raise InputError(f"The shards {', '.join(shards)} hold no samples. Leave them out.")
            turn += 1

    def _sample(self, found: Mapping[str, Any]) -> Sample | BadSample:
        return sample_of(found, self.names[found["__url__"]], self.caption, self.labels, self.unlabelled)


class _Cursor:
    """A place in a lane, which moves forward."""

    def __init__(self, stream: Stream, lane: int, lanes: int) -> None:
        self.stream = stream
        self.lane = lane
        self.lanes = lanes
        self.number: int | None = None
        self.offset = 0
        self.samples: Iterator[dict[str, Any]] = iter(())

    def at(self, number: int, offset: int) -> dict[str, Any]:
        """Return the sample at ``offset`` of a pass, reading over those before it."""
        if number != self.number or offset < self.offset:
            self.number, self.offset = number, 0
            self.samples = self.stream.passage(number, self.lane, self.lanes)
        for found in self.samples:
            self.offset += 1
            if self.offset > offset:
                return found
        self.number = None
        raise self.stream.too_few(self.offset)


def _names(shards: Sequence[str]) -> dict[str, str]:
    """Return what each shard is called in its samples' ids: its file, below the folders that tell equal ones apart."""
    parts = {shard: PurePosixPath(shard).parts for shard in shards}
    files = {each[-1] for each in parts.values()}
    levels = zip(*(each[:-1] for each in parts.values()), strict=False)
    shared = -1 if len(files) == len(parts) else len(list(takewhile(lambda level: len(set(level)) == 1, levels)))
    return {shard: "/".join(each[shared:]) for shard, each in parts.items()}


def _shuffled(samples: Iterator[dict[str, Any]], size: int, draw: random.Random) -> Iterator[dict[str, Any]]:
    """Draw from a buffer of ``size`` samples that is filled up again."""
    buffer: list[dict[str, Any]] = []
    for found in samples:
        buffer.append(found)
        if len(buffer) > size:
            chosen = draw.randrange(len(buffer))
            buffer[chosen], buffer[-1] = buffer[-1], buffer[chosen]
            yield buffer.pop()
    draw.shuffle(buffer)
    yield from buffer
