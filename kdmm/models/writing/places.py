"""What a captioner reads by: pictures, sounds or clips as places that a decoder looks at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.models.map_encoder import MapEncoder
from kdmm.models.preprocess import ImagePreprocess
from kdmm.models.towers import Tower
from kdmm.models.towers.frames import FrameTower

__all__ = ["FramePlaces", "MapPlaces", "Places", "PooledPlaces", "places_of"]


class Places(nn.Module, ABC):
    """Media (N, ...) to places (N, P, ``width``), P the same for all."""

    modality: str
    width: int

    @property
    @abstractmethod
    def preprocess(self) -> Callable[[Any], Tensor]:
        """How one medium is prepared."""

    @abstractmethod
    def forward(self, media: Tensor) -> Float[Tensor, "N P width"]:
        """Encode media."""


class PooledPlaces(Places):
    """The one vector of a tower as the only place: of any modality.

    Args:
        tower: gives the vector.
    """

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower
        self.modality, self.width = tower.modality, tower.width

    @property
    def preprocess(self) -> Callable[[Any], Tensor]:
        """The tower's."""
        return cast(Callable[[Any], Tensor], self.tower.preprocess)

    def forward(self, media: Tensor) -> Float[Tensor, "N 1 width"]:
        """Encode media."""
        vectors: Tensor = self.tower(media)
        return vectors[:, None]


class MapPlaces(Places):
    """The places of a picture's coarsest map, row by row.

    Args:
        encoder: gives the map.
    """

    modality = "image"

    def __init__(self, encoder: MapEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = encoder.channels[-1]

    @property
    def preprocess(self) -> ImagePreprocess:
        """The encoder's."""
        return self.encoder.preprocess

    def forward(self, media: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N P width"]:
        """Encode pictures."""
        coarsest: Tensor = self.encoder(media)[-1]
        return coarsest.flatten(2).transpose(1, 2)


class FramePlaces(Places):
    """A clip's frames as places, in their order, which is learned.

    Args:
        tower: sees the frames. How it puts them together is not used: take :class:`kdmm.models.MeanFrames`, which has
            no weights for it.
    """

    modality = "video"

    def __init__(self, tower: FrameTower) -> None:
        super().__init__()
        self.tower = tower
        self.width = tower.image.width
        self.times = nn.Parameter(torch.zeros(tower.count, self.width))

    @property
    def preprocess(self) -> Callable[[Any], Tensor]:
        """The tower's."""
        return self.tower.preprocess

    def forward(self, media: Float[Tensor, "N F 3 H W"]) -> Float[Tensor, "N F width"]:
        """Encode clips."""
        return self.tower.places(media) + self.times


def places_of(tower: Tower | MapEncoder | Places) -> Places:
    """Return what gives a tower's places: its one vector, an encoder's coarsest map, or what is already places."""
    if isinstance(tower, Places):
        return tower
    return MapPlaces(tower) if isinstance(tower, MapEncoder) else PooledPlaces(tower)
