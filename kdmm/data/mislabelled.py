"""Label noise made on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdmm.data.changed import ChangedTraining
from kdmm.data.sample import Sample
from kdmm.data.source import Source
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["Mislabelled"]


class Mislabelled(ChangedTraining):
    """Gives a fraction of the training samples a wrong class, so that what answers label noise can be measured.

    The wrong class is any of the C - 1 others by even odds: symmetric noise (Patrini et al. 2017,
    https://arxiv.org/abs/1609.03683). A larger fraction mislabels what a smaller one mislabels, and in the same way.
    The val and test splits are the source's own.

    Args:
        source: whose samples are taken; it names its classes.
        fraction: of the labelled training samples, 0 to 1.
        label: which label.
        seed: chooses the samples and their classes.

    Raises:
        InputError: the fraction is outside, or the source has no classes of that name.
    """

    def __init__(self, source: Source, fraction: float | int, label: str = "label", seed: int = 0) -> None:
        super().__init__(source)
        self.fraction = fraction
        self.label = label
        self.seed = seed
        if not 0 <= fraction <= 1:
            raise InputError(f"Mislabelled.fraction: {fraction} given; it is a part of the samples, 0 to 1.")
        if len(source.classes.get(label, ())) < 2:
            raise InputError(
                f"Mislabelled.label: {source} names no classes of {label!r}; it has "
                f"{', '.join(source.classes) or 'no labels'}."
            )

    def __str__(self) -> str:
        return f"Mislabelled({self.source}, {self.fraction}, {self.label!r})"

    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Change labels."""
        labelled = [sample.id for sample in samples if sample.labels.get(self.label, -1) >= 0]
        ranked = sorted(labelled, key=lambda name: stable_hash("mislabelled", self.seed, name))
        wrong = set(ranked[: round(self.fraction * len(ranked))])
        return [self._wrong(sample) if sample.id in wrong else sample for sample in samples]

    def _wrong(self, sample: Sample) -> Sample:
        count = len(self.source.classes[self.label])
        step = 1 + stable_hash("wrong class", self.seed, sample.id) % (count - 1)
        return replace(sample, labels={**sample.labels, self.label: (sample.labels[self.label] + step) % count})
