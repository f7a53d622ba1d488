"""Video towers that see each frame by an image tower, and then put the frames together."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.models.taps import TapPoint
from kdmm.models.towers.image import ImageTower
from kdmm.models.towers.video import VideoTower
from kdmm.models.video import Frames, encode_different

__all__ = ["FrameTower", "MeanFrames"]


class FrameTower(VideoTower, ABC):
    """An image tower for each frame, and a pooling over the frames.

    The frames' own features (N, F, D) can be tapped (:class:`kdmm.models.Tapped`) as ``frames``, and are what `places`
    gives. Where the image tower is in evaluation mode, a frame that equals the one before it is not encoded again: a
    still picture costs one frame. In training each counts, since batch statistics are of all.

    Args:
        image: sees the frames, of width D.
        frames: F, how many of a clip are seen, spread evenly over it.
        frozen: keeps the image tower's weights as they are given.
    """

    def __init__(self, image: ImageTower, frames: int, frozen: bool = False) -> None:
        super().__init__()
        self.image = image
        self.count = frames
        self.frozen = frozen
        self.frames = TapPoint()
        self.preprocess = Frames(frames, image.preprocess)
        if frozen:
            self.lock()

    def lock(self) -> None:
        """Keep the image tower's weights as they are, from now on."""
        self.frozen = True
        self.image.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FrameTower:
        """Set the mode; a frozen image tower stays in evaluation mode, so that batch norm and dropout do not move."""
        super().train(mode)
        if self.frozen:
            self.image.eval()
        return self

    @abstractmethod
    def pool(self, frames: Float[Tensor, "N F D"]) -> Float[Tensor, "N width"]:
        """Put the frames' features together."""

    def places(self, video: Float[Tensor, "N F 3 H W"]) -> Float[Tensor, "N F D"]:
        """Return each frame's features."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.image.training:
                features: Tensor = self.image(video.flatten(0, 1)).unflatten(0, video.shape[:2])
            else:
                features = encode_different(video, self.image)
        tapped: Tensor = self.frames(features, torch.ones(video.shape[:2], dtype=torch.bool, device=video.device))
        return tapped

    def forward(self, video: Float[Tensor, "N F 3 H W"]) -> Float[Tensor, "N width"]:
        """Encode clips."""
        return self.pool(self.places(video))


class MeanFrames(FrameTower):
    """The mean of the frames' features: TSN's consensus (Wang et al. 2016, arXiv:1608.00859), in whatever order.

    Args:
        image: as for :class:`FrameTower`.
        frames: as for :class:`FrameTower`.
        frozen: as for :class:`FrameTower`.
    """

    def __init__(self, image: ImageTower, frames: int, frozen: bool = False) -> None:
        super().__init__(image, frames, frozen)
        self.width = image.width

    def pool(self, frames: Float[Tensor, "N F D"]) -> Float[Tensor, "N width"]:
        """Take the mean."""
        return frames.mean(1)
