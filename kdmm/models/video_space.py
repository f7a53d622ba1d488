"""A shared space whose video tower is locked up to its pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models.shared_space import Scales, SharedSpace
from kdmm.models.towers import Tower
from kdmm.models.towers.frames import FrameTower

__all__ = ["VideoSpace"]


class VideoSpace(SharedSpace):
    """Towers of any modalities in one space; locking the one for video locks what sees its frames alone.

    What the video tower makes of the frames, such as a transformer over time, is trained above frames that are encoded
    once (``features`` of :class:`kdmm.modules.TeacherModule`). Everything else is as in
    :class:`kdmm.models.SharedSpace`.

    Args:
        towers: by modality; ``video`` is a :class:`FrameTower`, such as ``TransformerFrames``.
        embed_dim: D, the width of the shared space; ``None`` takes the towers' own width, without projections.
        freeze: modalities whose towers are not trained, of ``video`` its image tower.
        dropout: of the features before their projection.
        init_temperature: the contrastive temperature at the start.
        init_logit_bias: the sigmoid loss's bias at the start; ``None`` for a model without one.
        scales: whether the pairs of modalities share one scale and bias or each have their own.
        weights_from: where trained weights of the whole model came from; set by whoever loads them.

    Raises:
        InputError: as of SharedSpace, or another video tower.
    """

    def __init__(
        self,
        towers: Mapping[str, Tower],
        embed_dim: int | None = None,
        freeze: Sequence[str] = (),
        dropout: float = 0.0,
        init_temperature: float = 0.07,
        init_logit_bias: float | None = None,
        scales: Scales = "one",
        weights_from: str | None = None,
    ) -> None:
        super().__init__(towers, embed_dim, freeze, dropout, init_temperature, init_logit_bias, scales, weights_from)
        video = towers.get("video")
        if not isinstance(video, FrameTower):
            raise InputError(
                f"VideoSpace.towers: video is {'left out' if video is None else type(video).__name__}; give a tower "
                "that sees frame by frame, such as kdmm.models.TransformerFrames, or take kdmm.models.SharedSpace."
            )
        if "video" in self.freeze:
            trained = [p for name, p in video.named_parameters() if not name.startswith("image.")]
            for parameter in trained:
                parameter.requires_grad_(True)
            video.lock()
            self.train(self.training)

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
