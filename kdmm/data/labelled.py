"""Scarce labels: a source of which only a fraction is labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdmm.data.changed import ChangedTraining, chosen_concepts, concept
from kdmm.data.sample import Sample
from kdmm.data.source import Source
from kdmm.errors import InputError

__all__ = ["Labelled"]

UNLABELLED = -1


class Labelled(ChangedTraining):
    """Keeps a label for a fraction of the train split's concepts; the other samples stay, with -1 for none.

    A larger fraction keeps what a smaller one keeps. The val and test splits are the source's own.

    Args:
        source: whose samples are taken. A sample without a group is a concept by itself.
        fraction: of the concepts whose label is kept, above 0 to 1.
        label: which label.
        seed: chooses them.

    Raises:
        InputError: the fraction is outside, or a sample of the source lacks the label.
    """

    def __init__(self, source: Source, fraction: float, label: str = "label", seed: int = 0) -> None:
        super().__init__(source)
        self.fraction = fraction
        self.label = label
        self.seed = seed
        if not 0 < fraction <= 1:
            raise InputError(
                f"Labelled.fraction: {fraction} given; it is a part of the concepts, above 0 and at most 1."
            )

    def __str__(self) -> str:
        return f"Labelled({self.source}, {self.fraction}, {self.label!r})"

    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Drop labels."""
        kept = chosen_concepts(samples, self.fraction, "labelled", self.seed)
        return [sample if concept(sample) in kept else self._unlabelled(sample) for sample in samples]

    def _unlabelled(self, sample: Sample) -> Sample:
        if self.label not in sample.labels:
            raise InputError(
                f"Labelled.label: {sample.origin} has no label {self.label!r}; it has "
                f"{', '.join(sample.labels) or 'none'}."
            )
        return replace(sample, labels={**sample.labels, self.label: UNLABELLED})
