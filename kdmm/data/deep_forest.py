"""Trees in aerial pictures, marked by hand: what the package deepforest carries."""

from __future__ import annotations

from pathlib import Path

from kdmm import fetch
from kdmm.data.pascal_voc import PascalVOC

__all__ = ["DeepForest"]

DATA = "deepforest/data"  # where the package has it


class DeepForest(PascalVOC):
    """951 trees in four aerial pictures (Weinstein et al. 2020, MIT); ``kdmm fetch deepforest``.

    https://doi.org/10.1111/2041-210X.13472. The pictures are cut into tiles: each one's left three fifths are for
    training, the next fifth for validation and the last for testing. A tile has the boxes that show at least half of
    themselves in it: with tiles of 200 pixels 941 are left. All trees are of one class, ``Tree``.

    Args:
        folder: the package's ``deepforest/data``; ``None`` takes what ``kdmm fetch deepforest`` has fetched.
        tiles: the side of a tile, about, pixels; ``None``: the pictures stay whole, and are all for training.
    """

    def __init__(self, folder: str | Path | None = None, tiles: int | None = 200) -> None:
        super().__init__(
            "deepforest" if folder is None else folder,
            first_pixel=0,
            tiles=tiles,
            rename={"Alive": "Tree", "Dead": "Tree"},
        )
        self.is_fetched = folder is None

    def __str__(self) -> str:
        return "DeepForest"

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return fetch.folder("deepforest", "DeepForest.folder") / DATA if self.is_fetched else super().folder
