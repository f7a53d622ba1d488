"""Masks of objects as COCO writes them: polygons, and run lengths."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int64
from numpy.typing import NDArray
from torch import Tensor

from kdmm.data.box_marks import ROUNDING
from kdmm.data.files import hash_bytes
from kdmm.data.marks import UNLABELLED, Marks
from kdmm.data.run_lengths import check_run_lengths
from kdmm.errors import InputError

__all__ = ["BACKGROUND", "Elsewhere", "MaskMarks", "checked_segmentation", "require_pycocotools"]

Elsewhere = Literal["background", "unlabelled"]
"""What a map of classes says of pixels of no object."""
BACKGROUND = "background"


@dataclass(frozen=True)
class MaskMarks:
    """Masks of one picture, drawn when they are needed.

    Args:
        segmentations: of N objects, as `checked_segmentation` returns them.
        classes: their numbers.
        size: (height, width) of the picture, pixels.
        crowds: segmentations of what may hold further objects.
        elsewhere: as ``label_map`` of :class:`kdmm.data.CocoDetection`.
    """

    segmentations: tuple[Any, ...]
    classes: tuple[int, ...]
    size: tuple[int, int]
    crowds: tuple[Any, ...] = ()
    elsewhere: Elsewhere | None = None

    def open(self) -> Marks:
        """Draw them; the boxes hold just the masks, and an object without a pixel is left out.

        Raises:
            InputError: run lengths that cannot be read.
        """
        marks = Marks.of_masks(self._masks(self.segmentations), torch.tensor(self.classes, dtype=torch.long))
        if self.elsewhere is None:
            return marks
        assert marks.masks is not None
        crowded = self._masks(self.crowds).any(0)
        return replace(marks, label_map=_flat(marks.masks, marks.box_classes, crowded, self.elsewhere))

    def identity(self) -> str:
        """Return what changes when they do."""
        written = [
            [x.tolist() for x in each] if isinstance(each, tuple) else each
            for each in (*self.segmentations, *self.crowds)
        ]
        return hash_bytes(repr((written, self.classes, self.size, self.elsewhere)).encode())

    def _masks(self, segmentations: tuple[Any, ...]) -> Bool[Tensor, "N H W"]:
        masks = np.zeros((len(segmentations), *self.size), dtype=bool)
        for mask, each in zip(masks, segmentations, strict=True):
            mask[:] = _drawn(each, self.size)
        return torch.from_numpy(masks)


def require_pycocotools(setting: str) -> None:
    """Refuse a setting that needs pycocotools where it is not installed.

    Args:
        setting: its name.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise InputError(f"{setting}: pycocotools is not installed. Install it by `pip install 'kdmm[detection]'`.")


def checked_segmentation(given: Any, width: int, height: int) -> Any:
    """Return a segmentation in the form that is kept: a tuple of polygons as arrays, or run lengths.

    Args:
        given: of the file.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Raises:
        InputError: it is neither; the message says why.
    """
    if isinstance(given, dict):
        check_run_lengths(given, width, height)
        return given
    if not isinstance(given, list) or not given:
        raise InputError("has no `segmentation`")
    return tuple(_polygon(each, width, height) for each in given)


def _polygon(given: Any, width: int, height: int) -> NDArray[np.float64]:
    plain = isinstance(given, list) and all(isinstance(x, int | float) for x in given)
    if not plain or len(given) < 6 or len(given) % 2:
        raise InputError("has a polygon that is no list of three or more pairs of numbers")
    corners = np.asarray(given, dtype=np.float64)
    if not np.isfinite(corners).all():
        raise InputError("has a polygon that is not of finite numbers")
    pairs = corners.reshape(-1, 2)
    if (pairs < -ROUNDING).any() or (pairs > np.asarray([width, height]) + ROUNDING).any():
        raise InputError(f"has a polygon that is outside the picture of {width} x {height} pixels")
    return corners


def _flat(
    masks: Bool[Tensor, "N H W"], classes: Int64[Tensor, "N"], crowded: Bool[Tensor, "H W"], elsewhere: Elsewhere
) -> Int64[Tensor, "H W"]:
    """Return the class of every pixel: where objects overlap the smaller one's, of two of one size the later one's."""
    first = 1 if elsewhere == BACKGROUND else 0
    label_map = torch.full(crowded.shape, 0 if elsewhere == BACKGROUND else UNLABELLED)
    label_map[crowded] = UNLABELLED
    for place in masks.flatten(1).sum(1).argsort(descending=True, stable=True).tolist():
        label_map[masks[place]] = classes[place] + first
    return label_map


def _drawn(segmentation: Any, size: tuple[int, int]) -> Any:
    tool: Any = importlib.import_module("pycocotools.mask")
    try:
        if isinstance(segmentation, tuple):
            runs = tool.merge(tool.frPyObjects([polygon.tolist() for polygon in segmentation], *size))
        elif isinstance(segmentation["counts"], list):
            runs = tool.frPyObjects(segmentation, *size)
        else:
            runs = segmentation
        with warnings.catch_warnings():  # pycocotools 2.0.11 gives arrays in a way that NumPy 2 is to forget
            warnings.simplefilter("ignore", DeprecationWarning)
            return tool.decode(runs)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"the run lengths of a mask cannot be read: {error}") from error
