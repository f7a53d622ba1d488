"""Scarce marks: a source of which only a fraction of the pictures is marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from kdmm.data.changed import ChangedTraining, chosen_concepts, concept
from kdmm.data.sample import Sample
from kdmm.data.source import Source
from kdmm.errors import InputError

__all__ = ["Marked"]


class Marked(ChangedTraining):
    """Keeps the boxes, masks and maps of a fraction of the train split's concepts; the others stay without.

    A larger fraction keeps what a smaller one keeps. The val and test splits are the source's own.

    Args:
        source: whose samples are taken. A sample without a group, such as a scene, is a concept by itself.
        fraction: of the concepts whose marks are kept, above 0 to 1.
        seed: chooses them.
        keep: which training samples remain: ``all``, or those ``marked`` or ``unmarked`` alone.

    Raises:
        InputError: the fraction is outside, or no training sample of the source is marked.
    """

    def __init__(
        self,
        source: Source,
        fraction: float | int,
        seed: int = 0,
        keep: Literal["all", "marked", "unmarked"] = "all",
    ) -> None:
        super().__init__(source)
        self.fraction = fraction
        self.seed = seed
        self.keep = keep
        if not 0 < fraction <= 1:
            raise InputError(f"Marked.fraction: {fraction} given; it is a part of the concepts, above 0 and at most 1.")

    def __str__(self) -> str:
        return f"Marked({self.source}, {self.fraction}, keep={self.keep!r})"

    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Drop marks, and the samples that do not remain."""
        if all(sample.marks is None for sample in samples):
            raise InputError(f"Marked.source: {self.source} marks nothing. Take a source with boxes, masks or maps.")
        chosen = chosen_concepts(samples, float(self.fraction), "marked", self.seed)
        marked = [sample if concept(sample) in chosen else replace(sample, marks=None) for sample in samples]
        wanted = {"all": (True, False), "marked": (True,), "unmarked": (False,)}[self.keep]
        return [sample for sample in marked if (sample.marks is not None) in wanted]
