"""One modality of a source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.data.wrapped import Wrapped

__all__ = ["Only"]


class Only(Wrapped):
    """One modality of a source: its images without their captions, say, or its sounds without their pictures.

    Samples that lack the modality are left out.

    Args:
        source: whose samples are taken, split by split.
        modality: what is kept.
    """

    def __init__(self, source: Source, modality: Literal["image", "text", "audio", "video"]) -> None:
        super().__init__(source)
        self.modality = modality

    def __str__(self) -> str:
        return f"Only({self.source}, {self.modality!r})"

    def read(self, split: Split) -> Sequence[Sample]:
        """Take the modality of each sample."""
        return [sample.only(self.modality) for sample in self.source.samples(split) if sample.has(self.modality)]
