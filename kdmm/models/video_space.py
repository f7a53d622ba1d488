"""A shared space whose video tower is locked up to its pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models.shared_space import SharedSpace
from kdmm.models.towers import Tower
from kdmm.models.towers.frames import FrameTower

__all__ = ["VideoSpace"]


class VideoSpace(SharedSpace):
    """Towers of any modalities in one space; locking the one for video locks what sees its frames alone.

    What the video tower makes of the frames, such as a transformer over time, is trained above frames that are encoded
    once (``features`` of :class:`kdmm.modules.TeacherModule`). Everything else is as in
    :class:`kdmm.models.SharedSpace`.

    Its arguments are SharedSpace's. Of ``towers``, ``video`` is a :class:`FrameTower`, such as ``TransformerFrames``;
    with ``video`` in ``freeze``, its image tower is not trained.
    """

    @classmethod
    def check_towers(cls, towers: Mapping[str, Tower]) -> None:
        """Refuse another video tower, too.

        Raises:
            InputError: as of SharedSpace, or the video tower does not see frame by frame.
        """
        super().check_towers(towers)
        video = towers.get("video")
        if not isinstance(video, FrameTower):
            raise InputError(
                f"VideoSpace.towers: video is {'left out' if video is None else type(video).__name__}; give a tower "
                "that sees frame by frame, such as kdmm.models.TransformerFrames, or take kdmm.models.SharedSpace."
            )

    def lock(self, modality: str) -> None:
        """Keep the weights of a modality's tower as they are, of a video tower those of its image tower."""
        if modality == "video":
            cast(FrameTower, self.towers[modality]).lock()
        else:
            super().lock(modality)

    def train(self, mode: bool = True) -> VideoSpace:
        """Set the mode; what is locked stays in evaluation mode."""
        super().train(mode)
        if "video" in self.freeze:
            self.towers["video"].train(mode)  # keeps its image tower where it is
        return self

    def features(self, modality: str, inputs: Tensor) -> Float[Tensor, "N width"]:
        """Return a tower's features of N inputs: of clips those of all frames, one after the other."""
        if modality != "video":
            return super().features(modality, inputs)
        return cast(FrameTower, self.towers[modality]).places(inputs).flatten(1)

    def project(self, modality: str, features: Float[Tensor, "N width"]) -> Float[Tensor, "N D"]:
        """Pool the frames of clips, and project features into the shared space."""
        if modality == "video":
            tower = cast(FrameTower, self.towers[modality])
            features = tower.pool(features.reshape(len(features), tower.count, -1))
        return super().project(modality, features)
