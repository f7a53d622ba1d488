"""Boxes of objects as annotation files give them, checked against the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from kdmm.data.files import hash_bytes
from kdmm.data.image_ref import ImageRef
from kdmm.data.marks import Marks
from kdmm.errors import InputError

__all__ = ["Box", "BoxMarks", "SizedImage", "checked_box", "turn_of"]

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels, x2 and y2 beyond the last one."""
ROUNDING = 1.0  # pixels: files round, so a box may end a pixel outside


@dataclass(frozen=True)
class BoxMarks:
    """Boxes that are known before the picture is read.

    Args:
        boxes: of N objects.
        classes: their numbers.
    """

    boxes: tuple[Box, ...]
    classes: tuple[int, ...]

    def open(self) -> Marks:
        """Return them."""
        boxes = torch.tensor(self.boxes, dtype=torch.float32).reshape(-1, 4)
        return Marks(boxes, torch.tensor(self.classes, dtype=torch.long))

    def identity(self) -> str:
        """Return what changes when they do."""
        return hash_bytes(repr((self.boxes, self.classes)).encode())


@dataclass(frozen=True)
class SizedImage:
    """A picture in a file whose size an annotation file states.

    Args:
        image: the picture.
        width: stated, pixels.
        height: stated, pixels.
    """

    image: ImageRef
    width: int
    height: int

    @property
    def path(self) -> str:
        """The picture's."""
        return self.image.path

    def open(self) -> Image.Image:
        """Read it as RGB.

        Raises:
            InputError: it cannot be read, or has another size, so that its marks are elsewhere.
        """
        found = self.image.open()
        self._compare(found.size)
        return found

    def check(self) -> None:
        """Read the picture's head alone.

        Raises:
            InputError: as `open`.
        """
        self._compare(self.image.size())

    def _compare(self, size: tuple[int, int]) -> None:
        stated = self.width, self.height
        if size != stated:
            raise InputError(
                f"the picture is {size[0]} x {size[1]} pixels, and its annotations are of one of {stated[0]} x "
                f"{stated[1]}{turn_of(self.image, stated)}"
            )

    def identity(self) -> str:
        """Return what changes when the picture does."""
        return self.image.identity()


def checked_box(box: Sequence[Any], width: int, height: int) -> Box:
    """Return a box, cut at the picture's edges where it is a pixel outside.

    Args:
        box: (x1, y1, x2, y2), pixels.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Raises:
        InputError: it is no box of this picture; the message says why, without naming it.
    """
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in box):
        raise InputError("is not of finite numbers")
    x1, y1, x2, y2 = (float(x) for x in box)
    if not (x2 > x1 and y2 > y1):
        raise InputError("has no area")
    if min(x1, y1) < -ROUNDING or x2 > width + ROUNDING or y2 > height + ROUNDING:
        raise InputError(f"is outside the picture of {width} x {height} pixels")
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if not (x2 > x1 and y2 > y1):
        raise InputError(f"is outside the picture of {width} x {height} pixels")
    return x1, y1, x2, y2


def turn_of(image: ImageRef, stated: tuple[float | int, float | int]) -> str:
    """Return what a message on another size than the picture's adds: that its EXIF data turn it, if that is why.

    Args:
        image: the picture.
        stated: (width, height) in pixels, not those of the picture as it is seen.
    """
    if stated != image.size()[::-1] or not image.lies():
        return ""
    return ": its EXIF data turn the picture, and it is read as it is seen. Turn the annotations alike"
