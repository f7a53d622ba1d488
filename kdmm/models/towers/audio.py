"""What every audio tower is. The towers themselves are in :mod:`kdmm.models.audio`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from kdmm.models.preprocess import AudioPreprocess

__all__ = ["AudioTower"]


class AudioTower(nn.Module, ABC):
    """Waveforms (N, T) to features (N, ``width``)."""

    modality: ClassVar[str] = "audio"
    width: int
    preprocess: AudioPreprocess

    @abstractmethod
    def forward(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode sounds."""
