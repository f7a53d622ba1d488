"""Texts that are nearly the same, so that a split can keep them together."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["near_duplicates"]

WORD = re.compile(r"\w+")
SHINGLE = 5  # words; a run of five is rarely in two texts that do not quote each other
LIKENESS = 0.5
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing: 2**64 over the golden ratio

Numbers = np.ndarray[Any, np.dtype[Any]]


def near_duplicates(texts: Sequence[str], likeness: float = LIKENESS, shingle: int = SHINGLE) -> list[int]:
    """Return for each text the place of the first text of its group.

    Two texts are alike if their sets of shingles, runs of ``shingle`` words without case and punctuation, have a
    resemblance (Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900), size of the intersection over size of the
    union, of at least ``likeness``. A text of fewer words is one shingle. Groups are what is joined by a chain of texts
    that are alike; texts without a word stand alone.

    Not every pair is compared: with shingles in one order, the rarest first, two texts that are alike share one among
    the first of each (Bayardo et al. 2007, https://doi.org/10.1145/1242572.1242591), so none is missed.

    Args:
        texts: N of them.
        likeness: above 0 to 1.
        shingle: words a shingle.
    """
    if not texts:
        return []
    sets, sizes = _shared_shingles(texts, shingle)
    groups = _Groups(len(texts))
    index: dict[int, list[int]] = defaultdict(list)
    for place, rarest_first in enumerate(sets):
        least = math.ceil(likeness * sizes[place])
        own = set(rarest_first)
        compared = set()
        for number in rarest_first[: max(0, len(rarest_first) - least + 1)] if sizes[place] else ():
            for other in index[number]:
                if other not in compared and groups.first(place) != groups.first(other):
                    compared.add(other)
                    common = len(own.intersection(sets[other]))
                    if common >= likeness * (sizes[place] + sizes[other] - common):
                        groups.join(place, other)
            index[number].append(place)
    return [groups.first(place) for place in range(len(texts))]


class _Groups:
    """A forest in which every tree is a group, and its root the first member."""

    def __init__(self, count: int) -> None:
        self.above = list(range(count))

    def first(self, place: int) -> int:
        while self.above[place] != place:
            self.above[place] = place = self.above[self.above[place]]
        return place

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.first(one), self.first(other)))
        self.above[high] = low


def _shared_shingles(texts: Sequence[str], shingle: int) -> tuple[list[list[int]], list[int]]:
    """Return the shingles of each text that are also another's, the rarest first, and how many it has in all."""
    words, lengths = _numbered(WORD.findall(text.casefold()) for text in texts)
    runs = np.minimum(shingle, lengths)
    starts = np.cumsum(lengths) - lengths
    counts = np.where(lengths > 0, lengths - runs + 1, 0)
    owner = np.repeat(np.arange(len(texts)), counts)
    first = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())  # where a shingle begins
    hashes = np.zeros(len(first), dtype=np.uint64)
    for step in range(shingle):
        inside = step < runs[owner]
        following = words[np.where(inside, first + step, 0)] if len(words) else words
        hashes = np.where(inside, _mixed(hashes ^ following), hashes)
    hashes = np.where(runs[owner] < shingle, _mixed(hashes ^ runs[owner].astype(np.uint64)), hashes)
    order = np.lexsort((hashes, owner))
    owner, hashes = owner[order], hashes[order]
    kept = np.ones(len(owner), dtype=bool)
    kept[1:] = (owner[1:] != owner[:-1]) | (hashes[1:] != hashes[:-1])  # each shingle of a text once
    owner, hashes = owner[kept], hashes[kept]
    sizes = np.bincount(owner, minlength=len(texts))
    _, number, count = np.unique(hashes, return_inverse=True, return_counts=True)
    shared = count[number] > 1
    owner, number, count = owner[shared], number[shared], count[number][shared]
    order = np.lexsort((number, count, owner))
    parts = np.split(number[order], np.cumsum(np.bincount(owner, minlength=len(texts)))[:-1])
    return [part.tolist() for part in parts], sizes.tolist()


def _numbered(texts: Iterable[list[str]]) -> tuple[Numbers, Numbers]:
    """Return the words of all texts as random numbers, one after the other, and how many each text has."""
    known: dict[str, int] = {}
    numbers: list[int] = []
    lengths = []
    for words in texts:
        lengths.append(len(words))
        numbers += [known.setdefault(word, len(known)) for word in words]
    return _mixed(np.array(numbers, dtype=np.uint64)), np.array(lengths, dtype=np.int64)


def _mixed(numbers: Numbers) -> Numbers:
    """Return 64-bit numbers with their bits mixed, one to one (the finalizer of SplitMix64)."""
    x = numbers + BASE
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
