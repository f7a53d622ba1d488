"""Sources that are read whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property

from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split

__all__ = ["BySplit"]


class BySplit(Source):
    """Reads all splits at once, when it is first asked for one, and keeps them."""

    @abstractmethod
    def read_all(self) -> Mapping[Split, list[Sample]]:
        """Read the samples of the splits that there are; asking for one that holds none is then an error."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those that were read."""
        return tuple(split for split in SPLITS if split in self._by_split)

    def read(self, split: Split) -> list[Sample]:
        """Return the samples of a split."""
        return self._by_split[split]

    @cached_property
    def _by_split(self) -> Mapping[Split, list[Sample]]:
        return self.read_all()
