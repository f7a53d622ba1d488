"""What is asked for, batch by batch and shard by shard, in an order that neither ranks nor kills change."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, overload

from kdmm.teachers.cache.data import CacheSource

__all__ = ["Grid", "Request", "texts_of", "texts_of_sample"]

Request = tuple[str, Sequence[int], int]
"""A source, positions in it, and the view that they are seen under."""


class Grid(Sequence[Request]):
    """Positions times views: of a source, one batch of positions after the other, each under all views.

    Args:
        positions: by source.
        views: their numbers.
        batch_size: positions of a request.
    """

    def __init__(self, positions: Iterable[tuple[str, Sequence[int]]], views: Sequence[int], batch_size: int) -> None:
        self.positions = [(name, some) for name, some in positions if len(some)]
        self.views = tuple(views)
        self.batch_size = batch_size
        counts = [len(self.views) * -(-len(some) // batch_size) for _, some in self.positions]
        self._starts = [0, *accumulate(counts)]

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, number: int) -> Request: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Request]: ...
    def __getitem__(self, number: int | slice) -> Request | Sequence[Request]:
        """Return a request, or several."""
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = bisect_right(self._starts, number) - 1
        source, some = self.positions[place]
        batch, view = divmod(number - self._starts[place], len(self.views))
        return source, some[batch * self.batch_size : (batch + 1) * self.batch_size], self.views[view]


def texts_of(data: CacheSource, splits: Iterable[str], reads: Sequence[str]) -> list[tuple[str, ...]]:
    """Return every text, or pair of a caption and what it was written to, once, the short ones first: less padding.

    Args:
        data: the DataModule.
        splits: which of its splits.
        reads: ``text``, ``source`` or both.
    """
    found: dict[tuple[str, ...], None] = {}
    for split in splits:
        for place in data.everything(split).walk():
            found.update(dict.fromkeys(texts_of_sample(place.sample, reads)))
    return sorted(found, key=lambda texts: sum(map(len, texts)))  # a stable order


def texts_of_sample(sample: Any, reads: Sequence[str]) -> list[tuple[str, ...]]:
    """Return a sample's captions, its source, or each caption with the source; none if it lacks one of them."""
    if not all(sample.has(each) for each in reads):
        return []
    source = (sample.source,) if "source" in reads else ()
    return [(caption, *source) for caption in sample.captions] if "text" in reads else [source]
