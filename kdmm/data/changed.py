"""Sources that change what another source gives for training, and nothing that is measured on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split

__all__ = ["ChangedTraining"]


class ChangedTraining(Source):
    """Changes the train split of another source; its val and test splits, and their name in reports, are the other's.

    Args:
        source: whose samples are taken.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return what remains of the training samples."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those of the source."""
        return self.source.splits

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the source's own description where the samples are its own."""
        return super().describe(split) if split == "train" else self.source.describe(split)

    def read(self, split: Split) -> Sequence[Sample]:
        """Change the train split."""
        samples = self.source.samples(split)
        return self.changed(samples) if split == "train" else samples
