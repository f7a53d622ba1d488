"""Moving pictures: some frames of a clip, and how a model chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from kdmm.errors import InputError

__all__ = ["Frames", "VideoClip", "VideoPreprocess", "spread"]


@dataclass(frozen=True, eq=False)
class VideoClip:
    """Frames of moving pictures.

    Args:
        frames: RGB pictures of one size, in their order, at least one.
        seconds: from the first frame's beginning to the last one's end; ``None``: unknown.
    """

    frames: tuple[Image, ...]
    seconds: float | None = None


VideoPreprocess = Callable[[VideoClip], Tensor]
"""One clip to (F, 3, H, W) float32, F the same for all. Compared with ``==`` and hashed."""


@dataclass(frozen=True)
class Frames:
    """A number of a clip's frames, spread evenly, each prepared like a picture.

    Args:
        count: F. Of a shorter clip frames come several times.
        image: what is done to a frame.
    """

    count: int
    image: Callable[[Image], Tensor]

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"Frames.count: {self.count} given; at least 1 frame is needed.")

    def __call__(self, clip: VideoClip) -> Float[Tensor, "F 3 H W"]:
        """Return the frames."""
        return torch.stack([self.image(clip.frames[place]) for place in spread(len(clip.frames), self.count)])


def spread(length: int, count: int) -> Sequence[int]:
    """Return ``count`` places of ``length``, the middles of as many equal parts (Wang et al. 2016, TSN).

    Args:
        length: how many there are, at least 1.
        count: how many are wanted, at least 1.
    """
    return [(2 * n + 1) * length // (2 * count) for n in range(count)]
