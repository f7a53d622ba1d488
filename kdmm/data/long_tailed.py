"""A training split made unbalanced on purpose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from kdmm.data.changed import ChangedTraining
from kdmm.data.sample import Sample
from kdmm.data.source import Source
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["LongTailed"]


class LongTailed(ChangedTraining):
    """Keeps ever fewer training samples of each further class, so that what answers imbalance can be measured.

    Of C classes in the order of their numbers class c keeps ``n_c * ratio ** (-c / (C - 1))`` of its n_c samples, one
    at least: the long tail of Cui et al. 2019 (https://arxiv.org/abs/1901.05555). A larger ratio keeps a part of what a
    smaller one keeps. The val and test splits are the source's own.

    Args:
        source: whose samples are taken.
        ratio: of the first class's share to the last one's, 1 or more.
        label: the classes are those of this label.
        seed: chooses the samples.

    Raises:
        InputError: a ratio below 1, or a training sample without the label.
    """

    def __init__(self, source: Source, ratio: float | int, label: str = "label", seed: int = 0) -> None:
        super().__init__(source)
        self.ratio = ratio
        self.label = label
        self.seed = seed
        if ratio < 1:
            raise InputError(f"LongTailed.ratio: {ratio} given; it is the largest share over the smallest, 1 or more.")

    def __str__(self) -> str:
        return f"LongTailed({self.source}, {self.ratio}, {self.label!r})"

    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Drop samples."""
        classes: defaultdict[int, list[Sample]] = defaultdict(list)
        for sample in samples:
            if self.label not in sample.labels:
                raise InputError(
                    f"LongTailed.label: {sample.origin} has no label {self.label!r}; it has "
                    f"{', '.join(sample.labels) or 'none'}."
                )
            classes[sample.labels[self.label]].append(sample)
        kept: set[str] = set()
        for place, number in enumerate(sorted(classes)):
            share = self.ratio ** (-place / max(1, len(classes) - 1))
            ranked = sorted(classes[number], key=lambda sample: stable_hash("long tail", self.seed, sample.id))
            kept.update(sample.id for sample in ranked[: max(1, round(share * len(ranked)))])
        return [sample for sample in samples if sample.id in kept]
