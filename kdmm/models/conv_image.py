"""A plain convolutional network: the image tower that the smallest experiments can afford."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.preprocess import ImageTransform
from kdmm.models.towers import ImageTower

__all__ = ["ConvImage"]


class ConvImage(ImageTower):
    """Blocks of 3 x 3 convolution, batch norm, ReLU and 2 x 2 max pooling, then the average over places.

    The "4-block ConvNet" of few-shot learning (Vinyals et al. 2016, https://arxiv.org/abs/1606.04080), with any widths.

    Args:
        widths: channels, one a block; each block halves the sides.
        image_size: side of the square that the tower reads, pixels.
    """

    def __init__(self, widths: Sequence[int], image_size: int = 32) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise InputError(f"ConvImage.widths: {list(widths)} given; give one or more, each at least 1.")
        if image_size >> len(widths) < 1:
            raise InputError(
                f"ConvImage.image_size: {image_size} pixels are halved {len(widths)} times. Give fewer widths, or "
                f"{2 ** len(widths)} pixels or more."
            )
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(2),
                )
                for before, width in zip((3, *widths[:-1]), widths, strict=True)
            )
        )
        self.width = widths[-1]
        self.to(memory_format=torch.channels_last)
        self.preprocess = ImageTransform(image_size)

    def forward(self, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N width"]:
        """Encode pictures."""
        maps: Tensor = self.blocks(image.contiguous(memory_format=torch.channels_last))
        return maps.mean((2, 3))
