"""What every video tower is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from kdmm.models.video import VideoPreprocess

__all__ = ["VideoTower"]


class VideoTower(nn.Module, ABC):
    """Clips (N, F, 3, H, W) to features (N, ``width``)."""

    modality: ClassVar[str] = "video"
    width: int
    preprocess: VideoPreprocess

    @abstractmethod
    def forward(self, video: Float[Tensor, "N F 3 H W"]) -> Float[Tensor, "N width"]:
        """Encode clips."""
