"""Sampling that makes up for classes, or concepts, of unequal size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kdmm.data.changed import ChangedTraining, concept
from kdmm.data.feed import Feed, Indexed, Turn
from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["Balanced", "BalancedFeed", "ClassCounts"]

GOLDEN = (5**0.5 - 1) / 2  # multiples of it spread more evenly over [0, 1), modulo 1, than those of any other number


class Balanced(ChangedTraining):
    """Gives the training samples of small classes more often, and those of large ones less.

    A class of n samples gets a share of each pass that is proportional to ``n ** power``; a pass is as long as without.
    In each pass its samples are as many as its share, rounded up or down such that it has its share on average. A class
    goes round by itself: all its samples are given equally often, but for one. A sample that is given again is a new
    view of it. The order is a function of (seed, epoch, batch, rank), as that of other sources.

    The ratio between several sources is the DataModule's ``batch_size``. The val and test splits are the source's own.

    Args:
        source: whose samples are taken.
        label: the classes are those of this label; ``null``: the concepts, ``Sample.group``, of which a sample without
            one is one by itself.
        power: 0 gives each class alike, 1 each sample alike, as the source itself; between, 0.5 takes square roots.
    """

    def __init__(self, source: Source, label: str | None = "label", power: float | int = 0.0) -> None:
        super().__init__(source)
        self.label = label
        self.power = power
        if not 0 <= power <= 1:
            raise InputError(
                f"Balanced.power: {power} given; give 0 for classes that are alike frequent to 1 for as they are."
            )

    def __str__(self) -> str:
        return f"Balanced({self.source}, {self.label!r}, power={self.power})"

    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Leave the samples as they are: the feed chooses."""
        return samples

    def feed(self, split: Split, name: str, seed: int) -> Feed:
        """Return what gives the train split's samples as often as their classes are to occur.

        Raises:
            InputError: a training sample has no such label.
        """
        if split != "train":
            return self.source.feed(split, name, seed)
        samples = self.samples(split)
        classes = [concept(each) if self.label is None else _class(each, self.label) for each in samples]
        return BalancedFeed(samples, classes, self.power, name, seed)


class BalancedFeed(Indexed):
    """The feed of `Balanced`. A sample's number of passes is how often it has been given before.

    Args:
        samples: all of them.
        classes: of each.
        power: as in `Balanced`.
        name: the source's name.
        seed: of the run's data order.
    """

    def __init__(
        self, samples: Sequence[Sample], classes: Sequence[Hashable], power: float | int, name: str, seed: int
    ) -> None:
        super().__init__(samples, name, seed)
        members: dict[Hashable, list[int]] = {}
        for row, each in enumerate(classes):
            members.setdefault(each, []).append(row)
        self._members = [np.array(rows) for rows in members.values()]
        self._bounds = np.cumsum([0.0] + [float(len(rows)) ** power for rows in self._members])

    def training_request(self, turn: Turn) -> list[tuple[int, int]]:
        """Return (position, times given before) of each sample."""
        length = self.pass_length(turn)
        drawn = (_drawn(self, number, length)[at] for number, at in self.places(turn))
        return [(int(row), int(before)) for row, before in drawn]

    def given(self, passes: int, length: int) -> NDArray[np.int64]:
        """Return how many samples of each class the first passes give, in the order in which the classes occur.

        Pass p gives class c ``floor(b_c + u_p) - floor(b_{c-1} + u_p)`` samples, where b adds the shares of a pass up
        over classes and u_p goes through [0, 1) evenly: systematic sampling, whose numbers add up to the length.

        Args:
            passes: how many.
            length: of a pass.
        """
        bounds = self._bounds * length / self._bounds[-1]  # in this order, so that whole shares are whole numbers
        offsets = np.sort(np.arange(1, passes + 1) * GOLDEN % 1)
        carried = passes - np.searchsorted(offsets, 1 - bounds % 1)  # in how many passes u_p takes b over the next one
        up_to: NDArray[np.int64] = passes * np.floor(bounds).astype(np.int64) + carried
        return np.diff(up_to)

    def draw(self, number: int, length: int) -> NDArray[np.int64]:
        """Return the (position, times given before) of each sample of a pass, in the order of the pass."""
        first, after = self.given(number, length), self.given(number + 1, length)
        drawn = [
            self._of_class(place, int(start), int(stop))
            for place, (start, stop) in enumerate(zip(first, after, strict=True))
        ]
        return self._generator(number).permutation(np.concatenate(drawn))

    def _of_class(self, place: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the draws ``start`` to ``stop`` of a class, which goes round its samples, shuffled each time anew."""
        rows = self._members[place]
        rounds = range(start // len(rows), -(-stop // len(rows)))
        drawn = [
            np.stack([self._generator("class", place, n).permutation(rows), np.full(len(rows), n)], 1) for n in rounds
        ]
        whole = np.concatenate([np.empty((0, 2), np.int64), *drawn])
        return whole[start - len(rows) * rounds.start :][: stop - start]

    def _generator(self, *parts: str | int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(stable_hash(self.seed, self.name, "balanced", *parts)))


@lru_cache(maxsize=8)  # two passes of each of a few sources are in use at once
def _drawn(feed: BalancedFeed, number: int, length: int) -> NDArray[np.int64]:
    return feed.draw(number, length)


def ClassCounts(source: Source, label: str = "label") -> list[int]:  # noqa: N802  named in YAML like a class
    """Return how many training samples each class has, in the order of the labels, up to the largest that occurs.

    What `kdmm.losses.ClassBalanced` and `kdmm.losses.LogitAdjusted` are to be told. A sample with -1 for none is in no
    class.

    Args:
        source: whose train split is counted.
        label: which label.

    Raises:
        InputError: a sample lacks the label.
    """
    found = Counter(_label(sample, label, "ClassCounts: label") for sample in source.samples("train"))
    return [found[each] for each in range(max(found) + 1)]


def _label(sample: Sample, label: str, setting: str) -> int:
    if label not in sample.labels:
        raise InputError(
            f"{setting}: {sample.origin} has no label {label!r}; it has {', '.join(sample.labels) or 'none'}."
        )
    return sample.labels[label]


def _class(sample: Sample, label: str) -> int:
    found = _label(sample, label, "Balanced.label")
    if found < 0:
        raise InputError(
            f"Balanced.label: {sample.origin} has {found} for none as its {label!r}, which is no class to balance. "
            "Give the samples without a label as a source of their own."
        )
    return found
