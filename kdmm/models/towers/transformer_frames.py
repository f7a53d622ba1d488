"""A small transformer over the frames of a clip."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.towers.frames import FrameTower
from kdmm.models.towers.image import ImageTower

__all__ = ["TransformerFrames", "waves"]

WAVES = 8  # frequencies: 1/2, 1, 2, ... periods a clip, the shortest 1/64 of a clip long
WIDER = 4  # the inner width of a layer, as in Vaswani et al. 2017


class TransformerFrames(FrameTower):
    """A transformer over the frames, added to them and averaged: the sequential type of CLIP4Clip.

    Luo et al. 2021 (arXiv:2104.08860, section 3.3.2). We differ in positions, which are times and not numbers: a frame
    at the same time of a clip has the same position whether 4 or 16 frames are seen. And what is added starts at 0, so
    that training begins with the mean of the frames.

    Args:
        image: as for :class:`FrameTower`.
        frames: as for :class:`FrameTower`.
        frozen: as for :class:`FrameTower`.
        width: the frames' features are projected to, and of the tower; ``None``: the image tower's.
        layers: of the transformer.
        heads: of its attention, a divisor of the width.
        dropout: in its layers.

    Raises:
        InputError: a number below 1, or heads that do not divide the width.
    """

    def __init__(
        self,
        image: ImageTower,
        frames: int,
        frozen: bool = False,
        width: int | None = None,
        layers: int = 1,
        heads: int = 4,
        dropout: float | int = 0.0,
    ) -> None:
        super().__init__(image, frames, frozen)
        self.width = image.width if width is None else width
        for setting, value in (("width", self.width), ("layers", layers), ("heads", heads)):
            if value < 1:
                raise InputError(f"TransformerFrames.{setting}: {value} given; give 1 or more.")
        if self.width % heads:
            raise InputError(
                f"TransformerFrames.heads: {heads} heads do not divide the width {self.width}. Set `heads` or `width`."
            )
        self.narrow = nn.Identity() if width is None else nn.Linear(image.width, width)
        self.time = nn.Linear(2 * WAVES, self.width, bias=False)
        layer = nn.TransformerEncoderLayer(
            self.width,
            heads,
            WIDER * self.width,
            float(dropout),
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.added = nn.Linear(self.width, self.width)
        nn.init.zeros_(self.added.weight)
        nn.init.zeros_(self.added.bias)

    def pool(self, frames: Float[Tensor, "N F D"]) -> Float[Tensor, "N width"]:
        """Let the frames look at each other, and take the mean."""
        narrow: Tensor = self.narrow(frames)
        positions: Tensor = self.time(waves(frames.shape[1]).to(narrow))
        pooled: Tensor = narrow.mean(1) + self.added(self.encoder(narrow + positions)).mean(1)
        return pooled


def waves(count: int) -> Float[Tensor, "F K"]:
    """Return K sines and cosines of the times of F frames spread evenly over a clip, whose length is 1.

    Args:
        count: F.
    """
    times = (torch.arange(count) + 0.5) / count
    angles = 2 * math.pi * times[:, None] * 2.0 ** torch.arange(-1, WAVES - 1)
    return torch.cat([angles.sin(), angles.cos()], 1)
