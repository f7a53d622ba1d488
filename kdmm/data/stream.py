"""The feed of shards: which reader reads what, as a pure function, and reading it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from kdmm.data.audio_ref import AudioRef
from kdmm.data.class_values import whole_number
from kdmm.data.distinct import distinct
from kdmm.data.feed import EVAL_PASS, Feed, Turn
from kdmm.data.files import identity_of
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import BadSample, Sample
from kdmm.data.shards import read_shard
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["Stream"]

IMAGES = ("jpg", "jpeg", "png", "webp")
SOUNDS = ("flac", "wav", "ogg", "mp3")


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
    ) -> None:
        super().__init__(name, seed)
        self.shards = list(shards)
        self.total = total
        self.shuffle = shuffle
        self.caption = caption
        self.labels = tuple(labels)
        files = Counter(PurePosixPath(shard).name for shard in shards)
        self.names = {shard: file if files[file := PurePosixPath(shard).name] == 1 else shard for shard in shards}
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

    def identity(self) -> str:
        """Return the shards, those of files with their size and time, and the number of samples."""
        return repr(([shard if "://" in shard else identity_of(shard, None) for shard in self.shards], self.total))

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

    def _cursor(self, lane: int, lanes: int) -> _Cursor:
        return self._cursors.setdefault((lane, lanes), _Cursor(self, lane, lanes))

    def passage(self, number: int, lane: int, lanes: int) -> Iterator[dict[str, Any]]:
        """Yield a lane's samples of one pass, undecoded; in training without end."""
        if number == EVAL_PASS:
            yield from (found for shard in self.shards for found in read_shard(shard))
            return
        every = self.shards.copy()
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
        shard, key = found["__url__"], found["__key__"]
        name, origin = f"{self.names[shard]}/{key}", f"{shard}, sample {key!r}"
        try:
            content = _object(found)
            captions = _captions(found, content, self.caption)
        except (ValueError, TypeError) as error:
            return BadSample(name, origin, f"the caption cannot be read: {error}")
        try:
            labels = {label: _label(found, content, label) for label in self.labels}
        except ValueError as error:
            return BadSample(name, origin, str(error))
        image = next((ImageRef(f"{key}.{ending}", found[ending]) for ending in IMAGES if ending in found), None)
        audio = next((AudioRef(f"{key}.{ending}", found[ending]) for ending in SOUNDS if ending in found), None)
        if image is None and audio is None and not captions:
            endings = ", ".join(ending for ending in found if not ending.startswith("__"))
            reason = f"there is neither an image nor a sound nor a caption, only files ending in {endings}"
            return BadSample(name, origin, reason)
        return Sample(name, image, captions, labels=labels, origin=origin, audio=audio)


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
        raise InputError(
            f"The shards of the source {self.stream.name!r} hold {self.offset} samples where {self.stream.total} were "
            "stated. Correct WebDataset.samples."
        )


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


def _object(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a sample's JSON file holds; nothing where there is none."""
    content = json.loads(found.get("json", b"{}"))
    if not isinstance(content, dict):
        raise TypeError(f"the .json file holds no object but {type(content).__name__}")
    return content


def _captions(found: Mapping[str, Any], content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    texts = [found["txt"].decode("utf-8")] if "txt" in found else []
    value = content.get(key) or []
    texts += value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{key!r} is neither text nor a list of texts")
    return distinct(texts)


def _label(found: Mapping[str, Any], content: Mapping[str, Any], label: str) -> int:
    value = found[label].decode("utf-8", "replace") if label in found else content.get(label)
    if value is None:
        raise ValueError(f"there is neither a file ending in .{label} nor a key {label!r} in a .json file")
    number = whole_number(value)
    if number is None:
        raise ValueError(f"the label {label!r} is {value!r}; a class number, 0 or more, is needed")
    return number
