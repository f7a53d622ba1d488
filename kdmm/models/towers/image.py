"""Image towers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import timm
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.models.preprocess import ImagePreprocess, ImageTransform
from kdmm.models.towers.timm_trunk import TimmTrunk, check_name

__all__ = ["ImageTower", "TimmImage"]


class ImageTower(nn.Module, ABC):
    """Pictures (N, 3, H, W) to features (N, ``width``)."""

    modality: ClassVar[str] = "image"
    width: int
    preprocess: ImagePreprocess

    @abstractmethod
    def forward(self, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N width"]:
        """Encode pictures."""


class TimmImage(TimmTrunk, ImageTower):
    """Any timm network, whole or its first stages, pooled to a vector.

    Args:
        name: timm's name of the architecture.
        image_size: side of the square that the tower reads, pixels.
        stages: keep this many of the network's feature stages (timm's ``feature_info``) and average their last map;
            ``None`` keeps the whole network with its own pooling.
        head_width: with ``stages``: a 1 x 1 convolution, batch norm and ReLU of this width before the average.
        weights: ``timm`` or ``timm:<tag>`` (timm's own download), a path, or ``package:<module>/<path>``. A file of the
            whole network serves a part of it. Names of another port of the same network are accepted when all shapes
            agree in order.
        frozen: names of the network's modules that keep the weights given and are not trained, from the input on, such
            as ``[conv_stem, bn1, blocks.0]``.

    Raises:
        InputError: unknown name, or weights that are missing or do not fit.
    """

    check_arguments = classmethod(check_name)

    def __init__(
        self,
        name: str,
        image_size: int = 224,
        stages: int | None = None,
        head_width: int | None = None,
        weights: str | None = None,
        frozen: Sequence[str] = (),
    ) -> None:
        super().__init__(name, stages, head_width, weights, frozen)
        config = timm.data.resolve_model_data_config(self.trunk)
        self.preprocess = ImageTransform(image_size, tuple(config["mean"]), tuple(config["std"]))

    def forward(self, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N width"]:
        """Encode pictures."""
        return self.encode(image)
