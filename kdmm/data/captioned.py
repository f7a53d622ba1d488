"""Scarce captions: a source of which only a fraction of the concepts is captioned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from kdmm.data.changed import ChangedTraining, chosen_concepts, concept
from kdmm.data.sample import Sample
from kdmm.data.source import Source
from kdmm.errors import InputError

__all__ = ["Captioned"]


class Captioned(ChangedTraining):
    """Keeps the captions of a fraction of the train split's concepts; the other samples stay, without theirs.

    They stay if anything else is known of them: a medium, or the text that is to be translated. A larger fraction keeps
    what a smaller one keeps. The val and test splits are the source's own.

    Args:
        source: whose samples are taken. A sample without a group is a concept by itself.
        fraction: of the concepts whose captions are kept, above 0 to 1.
        seed: chooses them.
        keep: which training samples remain: ``all``, or those ``captioned`` or ``uncaptioned`` alone.
    """

    def __init__(
        self,
        source: Source,
        fraction: float,
        seed: int = 0,
        keep: Literal["all", "captioned", "uncaptioned"] = "all",
    ) -> None:
        super().__init__(source)
        self.fraction = fraction
        self.seed = seed
        self.keep = keep
        if not 0 < fraction <= 1:
            raise InputError(
                f"Captioned.fraction: {fraction} given; it is a part of the concepts, above 0 and at most 1."
            )

    def __str__(self) -> str:
        return f"Captioned({self.source}, {self.fraction}, keep={self.keep!r})"

    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Drop captions, and the samples that do not remain."""
        chosen = chosen_concepts(samples, self.fraction, "captioned", self.seed)
        captioned = [concept(sample) in chosen for sample in samples]
        if self.keep == "captioned":
            return [sample for sample, has in zip(samples, captioned, strict=True) if has]
        return [
            sample if has else replace(sample, captions=())
            for sample, has in zip(samples, captioned, strict=True)
            if (has and self.keep == "all") or (not has and (sample.media or sample.source is not None))
        ]
