"""From the scores and boxes of all anchors to the detections of each picture."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

__all__ = ["COLUMNS", "detections_of", "padded"]

COLUMNS = 6
"""Of a detection: x1, y1, x2, y2, score, class."""
CANDIDATES = 1000  # a picture: torchvision's RetinaNet and FCOS take as many a level


@torch.no_grad()
def detections_of(
    scores: Float[Tensor, "N A C"],
    boxes: Float[Tensor, "N A 4"],
    image_size: tuple[int, int],
    score_threshold: float | int,
    overlap: float | int,
    most: int,
) -> tuple[Float[Tensor, "N K 6"], Bool[Tensor, "N K"]]:
    """Return the best detections of each picture after non-maximum suppression within each class.

    One suppression serves the whole batch; torchvision's classes do one a picture, which takes several times as long.

    Args:
        scores: of each anchor and class, in [0, 1].
        boxes: of each anchor, (x1, y1, x2, y2) in pixels.
        image_size: (height, width), which boxes are cut to.
        score_threshold: a detection's score is above it.
        overlap: of two boxes of a class with a larger intersection over union, the one with the lower score goes.
        most: K, detections a picture.

    Returns:
        What `padded` returns.
    """
    pictures, classes = scores.shape[0], scores.shape[2]
    scores, boxes = scores.float().flatten(1), clip_boxes_to_image(boxes.float(), image_size)
    best, places = scores.topk(min(CANDIDATES, scores.shape[1]), 1)
    picture, rank = (best > score_threshold).nonzero(as_tuple=True)
    best, places = best[picture, rank], places[picture, rank]
    found, number = boxes[picture, places // classes], places % classes
    kept = batched_nms(found, best, picture * classes + number, overlap)  # the highest score first
    rows = torch.cat([found, best[:, None], number[:, None].to(best.dtype)], 1)[kept]
    return padded([rows[picture[kept] == each] for each in range(pictures)], most, rows)


def padded(
    found: list[Float[Tensor, "_ 6"]], most: int, like: Tensor
) -> tuple[Float[Tensor, "N K 6"], Bool[Tensor, "N K"]]:
    """Return the detections of N pictures as one tensor, zero where there is none, and which of its rows are some.

    Args:
        found: of each picture, the best first.
        most: K; what comes after the first K is left out.
        like: a tensor on their device.
    """
    rows = like.new_zeros((len(found), most, COLUMNS))
    there = torch.zeros((len(found), most), dtype=torch.bool, device=like.device)
    for place, each in enumerate(found):
        count = min(len(each), most)
        rows[place, :count] = each[:count]
        there[place, :count] = True
    return rows, there
