"""How much each place of a map weighs, given the boxes of the objects in the image."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.outputs import Batch, Outputs, read, valid

__all__ = ["box_weights", "boxes_of", "with_detections"]


def box_weights(
    boxes: Sequence[Float[Tensor, "_ 4"]], image_size: tuple[int, int], size: tuple[int, int]
) -> tuple[Float[Tensor, "N H W"], Float[Tensor, "N H W"]]:
    """Return the weights of foreground and background, each the scale mask of FGD times its part of the places.

    A place in a box weighs 1 / the box's places, so that large objects do not rule; in several boxes it is of the
    smallest. A place in no box weighs 1 / the places in none. A box covers the places that it touches, at least one.

    Args:
        boxes: of each of the N images, (x1, y1, x2, y2) in pixels of the input.
        image_size: (height, width) of the input in pixels.
        size: (H, W) of the map.

    Returns:
        In float64 on the CPU; where one is positive the other is 0.
    """
    height, width = size
    foreground = torch.zeros(len(boxes), height, width, dtype=torch.float64)
    for weights, of_image in zip(foreground, boxes, strict=True):
        covered = []
        for x1, y1, x2, y2 in of_image.tolist():
            left, right = _touched(x1 * width / image_size[1], x2 * width / image_size[1], width)
            top, bottom = _touched(y1 * height / image_size[0], y2 * height / image_size[0], height)
            covered.append(((right - left) * (bottom - top), top, bottom, left, right))
        for area, top, bottom, left, right in sorted(covered, reverse=True):  # the smallest last, over the others
            weights[top:bottom, left:right] = 1 / area
    outside = (foreground == 0).to(foreground.dtype)
    return foreground, outside / outside.sum((1, 2), keepdim=True).clamp(min=1)


def boxes_of(batch: Batch, samples: int) -> tuple[list[Tensor], tuple[int, int]]:
    """Return the boxes of each sample and the size of the input image.

    Raises:
        InputError: the batch lacks them, or they do not fit its samples.
    """
    for name in ("boxes", "image_size"):
        if name not in batch:
            raise InputError(
                f"FGD: the batch has no {name!r}, only {', '.join(sorted(batch)) or 'nothing'}. Let the data give "
                "`boxes`, a list of (N, 4) tensors (x1, y1, x2, y2) in pixels of the input, one a sample, and "
                "`image_size`, (height, width) of the input."
            )
    boxes = list(batch["boxes"])
    if len(boxes) != samples or any(each.ndim != 2 or each.shape[1] != 4 for each in boxes):
        raise InputError(
            f"FGD: boxes has the shapes {[tuple(each.shape) for each in boxes]} for {samples} samples. Give one (N, 4) "
            "tensor a sample, (0, 4) for an image without objects."
        )
    height, width = batch["image_size"]
    return boxes, (int(height), int(width))


def with_detections(
    boxes: Sequence[Float[Tensor, "_ 4"]], batch: Batch, teacher: Outputs, least_score: float | int
) -> list[Tensor]:
    """Return the boxes of each sample, those that the teacher finds where the picture is not ``marked``.

    Args:
        boxes: that are marked.
        batch: ``marked`` (B,) says of which samples; without it all are.
        teacher: its ``detections`` (B, K, 6): x1, y1, x2, y2 in pixels of the input, score, class.
        least_score: of those taken.
    """
    found, marked = read(teacher, "detections", "teacher"), batch.get("marked")
    taken = valid(teacher, "detections") & (found[..., 4] >= least_score)
    known = [True] * len(found) if marked is None else marked.tolist()
    return [
        mine if is_known else rows[seen, :4]
        for mine, is_known, rows, seen in zip(boxes, known, found, taken, strict=True)
    ]


def _touched(first: float, last: float, size: int) -> tuple[int, int]:
    """Return the range of places of ``size`` that the interval touches, at least one."""
    start = min(max(math.floor(first), 0), size - 1)
    return start, min(max(math.ceil(last), start + 1), size)
