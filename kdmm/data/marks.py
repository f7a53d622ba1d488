"""What is marked in a picture: boxes and masks of objects, a class for every pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from PIL.Image import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

__all__ = ["UNLABELLED", "Marks", "MarksRef", "joint", "on_canvas"]

UNLABELLED = 255  # the class of a pixel that nobody labelled, as in Pascal VOC and Cityscapes
SMALLEST = 1.0  # pixels; what is narrower after a transform is gone


@dataclass(frozen=True)
class Marks:
    """Marks of one picture of H x W pixels.

    Args:
        boxes: of N objects, (x1, y1, x2, y2) in pixels, x2 and y2 beyond the last one.
        box_classes: their class numbers.
        masks: which pixels are each object's visible ones; ``None``: only boxes are known.
        label_map: the class of every pixel, ``UNLABELLED`` for none; ``None``: there is no map.
    """

    boxes: Float[Tensor, "N 4"]
    box_classes: Int64[Tensor, "N"]
    masks: Bool[Tensor, "N H W"] | None = None
    label_map: Int64[Tensor, "H W"] | None = None

    @classmethod
    def of_map(cls, label_map: Int64[Tensor, "H W"]) -> Marks:
        """Return a map alone."""
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), None, label_map)

    @classmethod
    def of_masks(cls, masks: Bool[Tensor, "N H W"], box_classes: Int64[Tensor, "N"]) -> Marks:
        """Return masks with the boxes that hold just them; a mask without a pixel is left out."""
        seen = masks.flatten(1).any(1)
        masks = masks[seen]
        boxes = masks_to_boxes(masks) if len(masks) else torch.zeros(0, 4)
        boxes = boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])  # torchvision counts to the last pixel, not beyond it
        return cls(boxes, box_classes[seen], masks)


@runtime_checkable
class MarksRef(Protocol):
    """Where a picture's marks are; read when they are needed."""

    def open(self) -> Marks:
        """Read them.

        Raises:
            InputError: they cannot be read; the message says why.
        """

    def identity(self) -> str:
        """Return what changes when they do."""


def joint(transform: Callable[..., Any], image: Image, marks: Marks) -> tuple[Any, Marks]:
    """Apply one transform of ``torchvision.transforms.v2`` to a picture and its marks alike.

    Boxes follow masks where there are some; a turned box without a mask becomes the upright one around it. Objects
    that are no longer in the picture are left out.

    Args:
        transform: such as ``v2.RandomHorizontalFlip()``.
        image: of H x W pixels.
        marks: on it.
    """
    size = (image.height, image.width)
    whole: dict[str, Any] = {
        "boxes": tv_tensors.BoundingBoxes(marks.boxes, format="XYXY", canvas_size=size),
        "box_classes": marks.box_classes,
    }
    if marks.masks is not None:
        whole["masks"] = tv_tensors.Mask(marks.masks)
    if marks.label_map is not None:
        # what a transform moves in from outside the picture is 0, which must not be a class
        whole["label_map"] = tv_tensors.Mask((marks.label_map + 1) % (UNLABELLED + 1))
    image, whole = transform(image, whole)
    plain = {name: each.as_subclass(Tensor) for name, each in whole.items()}
    label_map = plain.get("label_map")
    if label_map is not None:
        label_map = (label_map + UNLABELLED) % (UNLABELLED + 1)
    moved = Marks(plain["boxes"].float(), plain["box_classes"], plain.get("masks"), label_map)
    return image, _inside(moved, image.height, image.width)


def on_canvas(image: Image, marks: Marks | None, size: tuple[int, int]) -> tuple[Image, Marks | None]:
    """Resize a picture and its marks to one size for all, so that they fit into one batch.

    The aspect ratio changes: whoever wants to keep it pads or crops beforehand, by a transform.

    Args:
        image: of any size.
        marks: on it; ``None``: it has none.
        size: (height, width).
    """
    if marks is None:
        resized: Image = F.resize(image, list(size), antialias=True)
        return resized, None
    return joint(v2.Resize(size, antialias=True), image, marks)


def _inside(marks: Marks, height: int, width: int) -> Marks:
    if marks.masks is not None:
        exact = Marks.of_masks(marks.masks.bool(), marks.box_classes)
        return replace(exact, label_map=marks.label_map)
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    boxes = marks.boxes.clamp(min=0).minimum(limits)
    kept = ((boxes[:, 2:] - boxes[:, :2]) >= SMALLEST).all(1)
    return replace(marks, boxes=boxes[kept], box_classes=marks.box_classes[kept])
