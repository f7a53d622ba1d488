"""Moving pictures: some frames of a clip, and how a model chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from kdmm.errors import InputError

__all__ = ["Frames", "RandomFrames", "VideoClip", "VideoPreprocess", "encode_different", "spread"]


@dataclass(frozen=True, eq=False)
class VideoClip:
    """Frames of moving pictures.

    Args:
        frames: RGB pictures of one size, in their order, at equal distances in time, at least one. One picture may come
            several times in a row.
        seconds: from the first frame's beginning to the last one's end; ``None``: unknown, or nothing moves.
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
        chosen = [clip.frames[place] for place in spread(len(clip.frames), self.count)]
        different = {id(frame): frame for frame in chosen}  # so that a still picture is prepared once, not F times
        prepared = {key: self.image(frame) for key, frame in different.items()}
        if len(prepared) == 1:  # a view, so that a still picture takes the memory of one frame
            return prepared[id(chosen[0])].expand(self.count, -1, -1, -1)
        return torch.stack([prepared[id(frame)] for frame in chosen])


@dataclass(frozen=True)
class RandomFrames:
    """One frame at random of each of so many equal parts of a clip (TSN, Wang et al. 2016, arXiv:1608.00859).

    An augmentation, to be named first among those of ``video``: the following ones then work on fewer frames. It draws
    from PyTorch's generator, which a view's (sample id, view) seeds, so that all models see the same frames of a view:
    a student that takes 4 takes them of the teacher's 16. Evaluation, without augmentation, takes the middles.

    Args:
        parts: how many; of a clip of fewer frames every frame is taken.
    """

    parts: int

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise InputError(f"RandomFrames.parts: {self.parts} given; at least 1 is needed.")

    def __call__(self, frames: Sequence[Image]) -> list[Image]:
        """Return the frames that were drawn, in their order."""
        parts = min(self.parts, len(frames))
        places = (torch.arange(parts) + torch.rand(parts, dtype=torch.float64)) * len(frames) / parts
        return [frames[min(int(place), len(frames) - 1)] for place in places.tolist()]


def spread(length: int, count: int) -> Sequence[int]:
    """Return ``count`` places of ``length``, the middles of as many equal parts (Wang et al. 2016, TSN).

    Args:
        length: how many there are, at least 1.
        count: how many are wanted, at least 1.
    """
    return [(2 * n + 1) * length // (2 * count) for n in range(count)]


def encode_different(video: Float[Tensor, "N F 3 H W"], encode: Callable[[Tensor], Tensor]) -> Float[Tensor, "N F D"]:
    """Encode the frames of clips, a frame that equals the one before it not again: a still picture costs one frame.

    Args:
        video: the clips.
        encode: (M, 3, H, W) to (M, D), each row by itself.
    """
    differs = torch.ones(video.shape[:2], dtype=torch.bool, device=video.device)
    differs[:, 1:] = (video[:, 1:] != video[:, :-1]).flatten(2).any(2)
    encoded = encode(video[differs])[differs.flatten().cumsum(0) - 1]
    return encoded.reshape(*video.shape[:2], -1)
