"""Large pictures cut into tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from kdmm.data.box_marks import Box
from kdmm.data.image_ref import ImageRef
from kdmm.data.source import Split

__all__ = ["TileRef", "boxes_within", "cells", "region"]

Cell = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in whole pixels of the large picture."""
KEPT = 4  # large pictures that stay in memory in each process, once they are read
VISIBLE = 0.5  # of a box's area: what shows less of itself in a tile is not to be found there
PARTS: dict[Split, float] = {"train": 0.6, "val": 0.8, "test": 1.0}
"""Where each split's part of a picture ends, from the left."""


@dataclass(frozen=True)
class TileRef:
    """A part of a picture.

    Args:
        image: the large picture.
        cell: which part.
    """

    image: ImageRef
    cell: Cell

    @property
    def path(self) -> str:
        """The large picture's, and the part."""
        return f"{self.image.path}, tile {list(self.cell)}"

    def open(self) -> Image.Image:
        """Cut the tile out.

        Raises:
            InputError: the picture cannot be read.
        """
        return _read(self.image).crop(self.cell)

    def identity(self) -> str:
        """Return what changes when the tile does."""
        return f"{self.image.identity()} {self.cell}"


@lru_cache(maxsize=KEPT)
def _read(image: ImageRef) -> Image.Image:
    return image.open()


def cells(width: int, height: int, side: int) -> list[Cell]:
    """Return tiles that cover a picture without overlap, column by column, all of nearly the same size.

    Args:
        width: of the picture, pixels.
        height: of the picture, pixels.
        side: of a tile; the nearest that divides the picture evenly is taken.
    """
    columns, rows = max(1, round(width / side)), max(1, round(height / side))
    edges_x = [round(width * place / columns) for place in range(columns + 1)]
    edges_y = [round(height * place / rows) for place in range(rows + 1)]
    return [
        (edges_x[column], edges_y[row], edges_x[column + 1], edges_y[row + 1])
        for column in range(columns)
        for row in range(rows)
    ]


def region(place: int, count: int) -> Split:
    """Return the split of a tile: the left three fifths are for training, the next fifth for validation.

    Tiles of one split are together, so that few objects at the edges are in two of them.

    Args:
        place: of the tile among its picture's, as `cells` gives them.
        count: of its picture's tiles.
    """
    return next(split for split, end in PARTS.items() if place < round(end * count))


def boxes_within(boxes: Sequence[Box], cell: Cell) -> list[tuple[int, Box]]:
    """Return the boxes that lie in a tile by half of their area or more, cut at its edges.

    Args:
        boxes: in pixels of the large picture.
        cell: the tile.

    Returns:
        Each one's place among ``boxes``, and the box in pixels of the tile.
    """
    found = []
    for place, (x1, y1, x2, y2) in enumerate(boxes):
        left, top, right, bottom = map(float, cell)
        cut = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
        wide, high = cut[2] - cut[0], cut[3] - cut[1]
        if wide > 0 and high > 0 and wide * high >= VISIBLE * (x2 - x1) * (y2 - y1):
            found.append((place, (cut[0] - left, cut[1] - top, cut[2] - left, cut[3] - top)))
    return found
