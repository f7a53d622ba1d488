"""A package of somebody else's with a detector of their own, which knows nothing of torchvision's."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdmm.models import ImageTransform, Preprocess

STRIDE = 4


class Spots(nn.Module):
    """Looks for the middle of each object on a grid of places, and says how far its sides are from there.

    Args:
        classes: C.
        width: of its layers.
        image_size: side of the square that it reads, pixels.
    """

    def __init__(self, classes: int, width: int = 8, image_size: int = 32) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, width, 5, STRIDE, 2), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Conv2d(width, classes + 4, 3, padding=1)
        nn.init.constant_(self.head.bias[:classes], -3.0)
        self.classes = classes
        self.preprocess = Preprocess(image=ImageTransform(image_size, resize_mode="squash"), marks=True)

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        image = batch["image"]
        found = self.head(self.trunk(image)).movedim(1, -1)
        _, rows, columns, _ = found.shape
        y, x = torch.meshgrid(*((torch.arange(n) + 0.5) * STRIDE for n in (rows, columns)), indexing="ij")
        middle = torch.stack([x, y], -1).to(image)
        sides = F.softplus(found[..., self.classes :]) * STRIDE
        boxes = torch.cat([middle - sides[..., :2], middle + sides[..., 2:]], -1).flatten(1, 2)
        logits = found[..., : self.classes].flatten(1, 2)
        outputs = {"class_logits": logits, "anchor_boxes": boxes}
        if "boxes" in batch:
            outputs |= self.losses(logits, boxes, batch, columns)
        if not self.training:
            score, number = logits.sigmoid().max(2)
            best, place = score.topk(5, 1)
            parts = [
                boxes.gather(1, place[..., None].expand(-1, -1, 4)),
                best[..., None],
                number.gather(1, place)[..., None],
            ]
            outputs |= {"detections": torch.cat(parts, -1), "valid/detections": best > 0.05}
        return outputs

    def losses(self, logits: Tensor, boxes: Tensor, batch: Mapping[str, Any], columns: int) -> dict[str, Tensor]:
        seen, sides, count = logits[:0].sum(), boxes[:0].sum(), 0
        for row in batch["marked"].nonzero().flatten().tolist():
            mine = batch["boxes"][row]
            place = ((mine[:, :2] + mine[:, 2:]) / 2 // STRIDE).long()
            place = place[:, 1] * columns + place[:, 0]
            target = torch.zeros_like(logits[row])
            target[place, batch["box_classes"][row]] = 1.0
            seen = seen + F.binary_cross_entropy_with_logits(logits[row], target, reduction="sum")
            sides = sides + F.l1_loss(boxes[row][place], mine, reduction="sum")
            count += len(mine)
        return {"loss/seen": seen / max(count, 1), "loss/sides": sides / max(count, 1)}
