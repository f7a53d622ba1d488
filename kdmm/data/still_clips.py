"""Pictures as clips of one frame: images train a model of moving pictures too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kdmm.data.sample import MediaRef, Sample
from kdmm.data.source import Split
from kdmm.data.wrapped import Wrapped
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


class StillClips(Wrapped):
    """The samples of a source, each picture in the place of a clip, of one frame (Bain et al. 2021, arXiv:2104.00650).

    Samples without a picture are left out.

    Args:
        source: whose samples are taken, split by split.
    """

    def __str__(self) -> str:
        return f"StillClips({self.source})"

    def read(self, split: Split) -> Sequence[Sample]:
        """Take the pictures as clips."""
        return [
            replace(sample, image=None, marks=None, video=StillRef(sample.image))
            for sample in self.source.samples(split)
            if sample.image is not None
        ]
