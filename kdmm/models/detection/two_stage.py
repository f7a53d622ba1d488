"""Torchvision's detectors that propose boxes first and classify them afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from kdmm.models.detection.family import Family, Found, Limits, Target
from kdmm.models.detection.suppression import padded
from kdmm.views import seeded

__all__ = ["TwoStage"]


class TwoStage(Family):
    """Faster R-CNN (Ren et al. 2015, https://arxiv.org/abs/1506.01497)."""

    background: ClassVar[int] = 1
    parts: ClassVar[tuple[str, ...]] = ("objectness", "rpn_box_reg", "classifier", "box_reg")

    def arguments(self, at: Limits) -> dict[str, Any]:
        """Return what torchvision's constructor is told of the limits."""
        return {"box_score_thresh": at.score_threshold, "box_nms_thresh": at.overlap, "box_detections_per_img": at.most}

    def run(
        self, detector: nn.Module, image: Float[Tensor, "N 3 S S"], targets: Sequence[Target | None] | None, at: Limits
    ) -> Found:
        """Run a detector. What lies behind its pyramid runs twice in evaluation: for detections and for losses."""
        its: Any = detector
        size = (image.shape[2], image.shape[3])
        levels = its.backbone(image)
        found = Found()
        if targets is not None:
            rows = [row for row, target in enumerate(targets) if target is not None]
            known = self.given([target for target in targets if target is not None])
            found.losses = self.no_loss(list(levels.values()))
            if rows:
                marked = {name: x[rows] for name, x in levels.items()}
                found.losses = self._losses(its, image[rows], marked, [size] * len(rows), known)
        if not detector.training:
            proposals, _ = its.rpn(ImageList(image, [size] * len(image)), levels)
            each_found, _ = its.roi_heads(levels, proposals, [size] * len(image))
            rows_of = [
                torch.cat([x["boxes"], x["scores"][:, None], (x["labels"] - self.background)[:, None].float()], 1)
                for x in each_found
            ]
            found.detections = padded([x.float() for x in rows_of], at.most, image.float())
        return found

    def _losses(
        self, detector: Any, image: Tensor, levels: dict[str, Tensor], sizes: list[tuple[int, int]], targets: Any
    ) -> dict[str, Tensor]:
        with _training(detector.rpn, detector.roi_heads):
            proposals, first = detector.rpn(ImageList(image, sizes), levels, targets)
            _, second = detector.roi_heads(levels, proposals, sizes, targets)
        return {name.removeprefix("loss_"): x for name, x in (first | second).items()}


@contextmanager
def _training(*modules: nn.Module) -> Iterator[None]:
    """Let modules compute losses; the layers in them, such as batch norm, keep their modes.

    In evaluation the boxes that are drawn for the loss are drawn from a seed: measuring changes no later draw.
    """
    if all(module.training for module in modules):
        yield
        return
    try:
        for module in modules:
            module.training = True
        with seeded("torchvision's samplers", 0):
            yield
    finally:
        for module in modules:
            module.training = False
