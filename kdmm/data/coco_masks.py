"""Masks of objects as COCO writes them: polygons, and run lengths."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kdmm.data.files import hash_bytes
from kdmm.data.marks import Marks
from kdmm.errors import InputError

__all__ = ["MaskMarks", "checked_segmentation", "require_pycocotools"]


@dataclass(frozen=True)
class MaskMarks:
    """Masks of one picture, drawn when they are needed.

    Args:
        segmentations: of N objects, as `checked_segmentation` returns them.
        classes: their numbers.
        size: (height, width) of the picture, pixels.
    """

    segmentations: tuple[Any, ...]
    classes: tuple[int, ...]
    size: tuple[int, int]

    def open(self) -> Marks:
        """Draw them; the boxes hold just the masks, and an object without a pixel is left out.

        Raises:
            InputError: run lengths that cannot be read.
        """
        masks = np.zeros((len(self.segmentations), *self.size), dtype=bool)
        for mask, each in zip(masks, self.segmentations, strict=True):
            mask[:] = _drawn(each, self.size)
        return Marks.of_masks(torch.from_numpy(masks), torch.tensor(self.classes, dtype=torch.long))

    def identity(self) -> str:
        """Return what changes when they do."""
        written = [[x.tolist() for x in each] if isinstance(each, tuple) else each for each in self.segmentations]
        return hash_bytes(repr((written, self.classes, self.size)).encode())


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
        if list(given.get("size", ())) != [height, width] or not isinstance(given.get("counts"), list | str):
            raise InputError(
                f"has run lengths of the size {given.get('size')}, and the picture is [{height}, {width}] (or they "
                "have no `counts`)"
            )
        return given
    if not isinstance(given, list) or not given:
        raise InputError("has no `segmentation`")
    for polygon in given:
        plain = isinstance(polygon, list) and all(isinstance(x, int | float) for x in polygon)
        if not plain or len(polygon) < 6 or len(polygon) % 2:
            raise InputError("has a polygon that is no list of three or more pairs of numbers")
    return tuple(np.asarray(polygon, dtype=np.float64) for polygon in given)


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
