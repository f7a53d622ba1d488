"""Samples that have all of some modalities."""

from __future__ import annotations

from collections.abc import Sequence

from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.data.wrapped import Wrapped
from kdmm.errors import InputError, nearest
from kdmm.outputs import MODALITIES

__all__ = ["Having"]


class Having(Wrapped):
    """The samples of a source that have all of some modalities, such as the stamps that sound; others are left out.

    Args:
        source: whose samples are taken, split by split.
        modalities: that a sample must have: ``image``, ``text``, ``audio``.

    Raises:
        InputError: no modality, or an unknown one.
    """

    def __init__(self, source: Source, modalities: Sequence[str]) -> None:
        super().__init__(source)
        self.modalities = tuple(modalities)
        if not self.modalities:
            raise InputError("Having.modalities: none given; give one or more, such as [audio].")
        for modality in self.modalities:
            if modality not in MODALITIES:
                raise InputError(
                    f"Having.modalities: {modality!r} is none; accepted are {', '.join(MODALITIES)}."
                    + nearest(modality, MODALITIES)
                )

    def __str__(self) -> str:
        return f"Having({self.source}, {list(self.modalities)})"

    def read(self, split: Split) -> Sequence[Sample]:
        """Take the samples that have them all."""
        return [each for each in self.source.samples(split) if all(map(each.has, self.modalities))]
