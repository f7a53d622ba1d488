"""Encoders that give maps of several strides: what segmenters build on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.preprocess import ImagePreprocess, ImageTransform
from kdmm.models.towers.timm_trunk import TimmTrunk, check_name

__all__ = ["MapEncoder", "TimmMaps"]


class MapEncoder(nn.Module, ABC):
    """Pictures (N, 3, H, W) to maps (N, ``channels[i]``, H / ``strides[i]``, W / ``strides[i]``), the finest first."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    preprocess: ImagePreprocess

    @abstractmethod
    def forward(self, image: Float[Tensor, "N 3 H W"]) -> list[Tensor]:
        """Encode pictures."""


class TimmMaps(TimmTrunk, MapEncoder):
    """The last map of each stride of any timm network that gives its intermediate ones.

    Args:
        name: timm's name of the architecture.
        image_size: side of the square that the encoder reads, pixels.
        stages: keep this many of the network's feature stages (timm's ``feature_info``); ``None`` keeps all, without
            what comes after them.
        finest: maps of a smaller stride are not given, unless there are no others.
        weights: as for :class:`kdmm.models.TimmImage`.
        frozen: as for :class:`kdmm.models.TimmImage`.

    Raises:
        InputError: unknown name, a network without intermediate maps, or weights that are missing or do not fit.
    """

    check_arguments = classmethod(check_name)

    def __init__(
        self,
        name: str,
        image_size: int = 224,
        stages: int | None = None,
        finest: int = 4,
        weights: str | None = None,
        frozen: Sequence[str] = (),
    ) -> None:
        try:
            known = len(timm.create_model(name, pretrained=False).feature_info) if timm.is_model(name) else 1
        except AttributeError:
            raise InputError(f"TimmMaps.name: {name!r} gives no intermediate maps. Take another network.") from None
        super().__init__(name, known if stages is None else stages, None, weights, frozen)
        self.head = nn.Identity()  # maps are not pooled
        last = {int(each["reduction"]): at for at, each in enumerate(self.trunk.feature_info[: stages or known])}
        used = {stride: at for stride, at in last.items() if stride >= finest} or last
        self.strides = tuple(sorted(used))
        self.indices = [used[stride] for stride in self.strides]
        self.channels = tuple(int(self.trunk.feature_info[at]["num_chs"]) for at in self.indices)
        config = timm.data.resolve_model_data_config(self.trunk)
        # a map is of the whole picture, so nothing is cropped away
        self.preprocess = ImageTransform(image_size, tuple(config["mean"]), tuple(config["std"]), resize_mode="squash")

    def forward(self, image: Float[Tensor, "N 3 H W"]) -> list[Tensor]:
        """Encode pictures."""
        image = image.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = self.trunk.forward_intermediates(image, indices=self.indices, intermediates_only=True)
        return maps
