"""One modality of a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split

__all__ = ["Only"]


class Only(Source):
    """The images of a source without their captions, or its texts without their images.

    Samples that lack the modality are left out.

    Args:
        source: whose samples are taken, split by split.
        modality: what is kept.
    """

    def __init__(self, source: Source, modality: Literal["image", "text"]) -> None:
        self.source = source
        self.modality = modality

    def __str__(self) -> str:
        return f"Only({self.source}, {self.modality!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those of the source."""
        return self.source.splits

    def read(self, split: Split) -> Sequence[Sample]:
        """Take the modality of each sample."""
        samples = self.source.samples(split)
        if self.modality == "image":
            return [replace(sample, captions=()) for sample in samples if sample.image is not None]
        return [replace(sample, image=None) for sample in samples if sample.captions]
