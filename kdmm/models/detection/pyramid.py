"""A backbone for detectors: the stages of a timm network and a feature pyramid over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import FeaturePyramidNetwork

from kdmm.errors import InputError
from kdmm.models.towers.timm_trunk import TimmTrunk, check_name

__all__ = ["Backbone", "TimmPyramid"]


@runtime_checkable
class Backbone(Protocol):
    """An ``nn.Module`` from pictures to maps of falling size: an ordered mapping, one map a level.

    Attributes:
        out_channels: of every level's map.
        strides: of each level, pixels of the picture a place.
    """

    out_channels: int
    strides: tuple[int, ...]

    def __call__(self, image: Float[Tensor, "N 3 H W"]) -> dict[str, Float[Tensor, "N C h w"]]:
        """Return the maps by level, the finest first."""


class TimmPyramid(TimmTrunk):
    """A feature pyramid (Lin et al. 2017, https://arxiv.org/abs/1612.03144) over stages of any timm network.

    Its levels can be tapped as ``fpn.layer_blocks.0``, the finest, and so on.

    Args:
        name: timm's name of the architecture.
        width: channels of every level.
        stages: which of the network's feature stages (timm's ``feature_info``, from 1) the levels are built on; those
            behind the last are left out. Most networks halve the sides with each stage.
        weights: as for :class:`kdmm.models.TimmImage`.
        frozen: as for :class:`kdmm.models.TimmImage`.

    Raises:
        InputError: unknown name, stages that the network lacks, or weights that are missing or do not fit.
    """

    check_arguments = classmethod(check_name)

    def __init__(
        self,
        name: str,
        width: int = 256,
        stages: Sequence[int] = (3, 4, 5),
        weights: str | None = None,
        frozen: Sequence[str] = (),
    ) -> None:
        if not stages or list(stages) != sorted(set(stages)) or stages[0] < 1:
            raise InputError(
                f"TimmPyramid.stages: {list(stages)} given; give rising numbers from 1, such as [3, 4, 5]."
            )
        if width < 1:
            raise InputError(f"TimmPyramid.width: {width} given; give 1 or more.")
        super().__init__(name, stages[-1], None, weights, frozen)
        levels = [self.trunk.feature_info[stage - 1] for stage in stages]
        self.places = [stage - 1 for stage in stages]
        self.out_channels = width
        self.strides = tuple(int(level["reduction"]) for level in levels)
        self.fpn = FeaturePyramidNetwork([int(level["num_chs"]) for level in levels], width)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Float[Tensor, "N 3 H W"]) -> dict[str, Float[Tensor, "N C h w"]]:
        """Return the maps by level."""
        image = image.contiguous(memory_format=torch.channels_last)
        maps = self.trunk.forward_intermediates(image, indices=self.places, intermediates_only=True)
        levels: dict[str, Tensor] = self.fpn({str(level): x for level, x in enumerate(maps)})
        return levels
