"""Sources that change what another source gives for training, and nothing that is measured on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.data.wrapped import Wrapped
from kdmm.views import stable_hash

__all__ = ["ChangedTraining", "chosen_concepts", "concept"]


class ChangedTraining(Wrapped):
    """Changes the train split of another source; its val and test splits, and their name in reports, are the other's.

    Args:
        source: whose samples are taken.
    """

    @abstractmethod
    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return what remains of the training samples."""

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the source's own description where the samples are its own."""
        return Source.describe(self, split) if split == "train" else self.source.describe(split)

    def read(self, split: Split) -> Sequence[Sample]:
        """Change the train split."""
        samples = self.source.samples(split)
        return self.changed(samples) if split == "train" else samples


def chosen_concepts(samples: Sequence[Sample], fraction: float, salt: str, seed: int) -> set[str]:
    """Return a fraction of the concepts, one at least; a larger fraction holds a smaller one.

    Args:
        samples: whose concepts they are.
        fraction: above 0 to 1.
        salt: tells apart what is chosen for one seed.
        seed: chooses.
    """
    ranked = sorted({concept(sample) for sample in samples}, key=lambda name: stable_hash(salt, seed, name))
    return set(ranked[: max(1, round(fraction * len(ranked)))])


def concept(sample: Sample) -> str:
    """Return what a sample shows; one without a group is a concept by itself."""
    return f"sample {sample.id}" if sample.group is None else f"group {sample.group}"
