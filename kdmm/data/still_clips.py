"""Pictures as clips of one frame: images train a model of moving pictures too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdmm.data.sample import MediaRef, Sample
from kdmm.data.source import Source, Split
from kdmm.models.video import VideoClip

__all__ = ["StillClips", "StillRef"]


@dataclass(frozen=True)
class StillRef:
    """A picture that is read as a clip of one frame.

    Args:
        image: where the picture is.
    """

    image: MediaRef

    @property
    def path(self) -> str:
        """The picture's."""
        return self.image.path

    def open(self) -> VideoClip:
        """Read the picture.

        Raises:
            InputError: it cannot be read.
        """
        return VideoClip((self.image.open(),))

    def identity(self) -> str:
        """Return what changes when the picture does."""
        return f"still {self.image.identity()}"


class StillClips(Source):
    """The samples of a source, each picture in the place of a clip, of one frame (Bain et al. 2021, arXiv:2104.00650).

    Samples without a picture are left out.

    Args:
        source: whose samples are taken, split by split.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    def __str__(self) -> str:
        return f"StillClips({self.source})"

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Those of the source."""
        return self.source.classes

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those of the source."""
        return self.source.splits

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the source's description under this name."""
        return {**self.source.describe(split), **super().describe(split)}

    def read(self, split: Split) -> Sequence[Sample]:
        """Take the pictures as clips."""
        return [
            replace(sample, image=None, marks=None, video=StillRef(sample.image))
            for sample in self.source.samples(split)
            if sample.image is not None
        ]
