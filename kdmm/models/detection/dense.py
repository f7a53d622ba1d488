"""Torchvision's detectors with a class score and a box for every anchor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from kdmm.models.detection.family import Family, Found, Limits, Target
from kdmm.models.detection.suppression import detections_of

__all__ = ["DenseFamily", "Fcos", "RetinaNet", "Ssd"]

CERTAIN = -1e-6  # the log of a score from which on float32 cannot tell how far it is below 1


class DenseFamily(Family):
    """Detectors with a class score and a box for every anchor."""

    gives: ClassVar[frozenset[str]] = frozenset({"class_logits", "anchor_boxes", "anchors"})

    @abstractmethod
    def further(
        self, detector: Any, targets: list[dict[str, Tensor]], anchors: list[Tensor], sizes: list[int]
    ) -> tuple[Any, ...]:
        """Return what torchvision's own losses are computed from besides targets, head and anchors.

        Args:
            detector: of the family.
            targets: of the pictures that are marked.
            anchors: of these pictures.
            sizes: places of each level.
        """

    def logits(self, head: Mapping[str, Tensor]) -> Float[Tensor, "N A C"]:
        """Return what gives each class's score, that of a detection, by a sigmoid."""
        return head["cls_logits"]

    def boxes(self, detector: Any, head: Mapping[str, Tensor], anchors: Tensor) -> Float[Tensor, "N A 4"]:
        """Return the boxes of each anchor."""
        offsets = head["bbox_regression"]
        decoded: Tensor = detector.box_coder.decode_single(offsets.flatten(0, 1), anchors.flatten(0, 1))
        return decoded.reshape(offsets.shape)

    def run(
        self, detector: nn.Module, image: Float[Tensor, "N 3 S S"], targets: Sequence[Target | None] | None, at: Limits
    ) -> Found:
        """Run a detector."""
        its: Any = detector
        size = (image.shape[2], image.shape[3])
        levels = list(its.backbone(image).values())
        head = {name: x.float() for name, x in its.head(levels).items()}  # losses and boxes in float32 under autocast
        each_anchors = its.anchor_generator(ImageList(image, [size] * len(image)), levels)
        anchors = torch.stack(each_anchors)
        boxes = self.boxes(its, head, anchors)
        found = Found({"class_logits": self.logits(head), "anchor_boxes": boxes, "anchors": anchors})
        if targets is not None:
            rows = [row for row, target in enumerate(targets) if target is not None]
            if rows:
                marked = {name: x[rows] for name, x in head.items()}
                known = self.given([target for target in targets if target is not None])
                sizes = [x.shape[2] * x.shape[3] for x in levels]
                theirs = [each_anchors[row] for row in rows]
                found.losses = its.compute_loss(known, marked, theirs, *self.further(its, known, theirs, sizes))
            else:
                found.losses = self.no_loss(list(head.values()))
        if not detector.training:
            found.detections = detections_of(
                found.dense["class_logits"].sigmoid(), boxes, size, at.score_threshold, at.overlap, at.most
            )
        return found


class RetinaNet(DenseFamily):
    """RetinaNet (Lin et al. 2017, https://arxiv.org/abs/1708.02002)."""

    background: ClassVar[int] = 0
    parts: ClassVar[tuple[str, ...]] = ("classification", "bbox_regression")

    def further(
        self, detector: Any, targets: list[dict[str, Tensor]], anchors: list[Tensor], sizes: list[int]
    ) -> tuple[Any, ...]:
        """Return nothing."""
        return ()


class Fcos(DenseFamily):
    """FCOS (Tian et al. 2019, https://arxiv.org/abs/1904.01355), whose scores also depend on the centre-ness."""

    background: ClassVar[int] = 0
    parts: ClassVar[tuple[str, ...]] = ("classification", "bbox_regression", "bbox_ctrness")

    def further(
        self, detector: Any, targets: list[dict[str, Tensor]], anchors: list[Tensor], sizes: list[int]
    ) -> tuple[Any, ...]:
        """Return the places of each level."""
        return (sizes,)

    def logits(self, head: Mapping[str, Tensor]) -> Float[Tensor, "N A C"]:
        """Return the logits of detections' scores: the geometric mean of class score and centre-ness."""
        return _logit((F.logsigmoid(head["cls_logits"]) + F.logsigmoid(head["bbox_ctrness"])) / 2)

    def boxes(self, detector: Any, head: Mapping[str, Tensor], anchors: Tensor) -> Float[Tensor, "N A 4"]:
        """Return the boxes of each anchor."""
        decoded: Tensor = detector.box_coder.decode(head["bbox_regression"], anchors)
        return decoded


class Ssd(DenseFamily):
    """SSD (Liu et al. 2016, https://arxiv.org/abs/1512.02325), whose classes, and the background, are one softmax."""

    background: ClassVar[int] = 1
    parts: ClassVar[tuple[str, ...]] = ("bbox_regression", "classification")

    def further(
        self, detector: Any, targets: list[dict[str, Tensor]], anchors: list[Tensor], sizes: list[int]
    ) -> tuple[Any, ...]:
        """Return which box each anchor is matched with."""
        pairs = zip(targets, anchors, strict=True)
        return ([self._matched(detector, target["boxes"], each) for target, each in pairs],)

    def logits(self, head: Mapping[str, Tensor]) -> Float[Tensor, "N A C"]:
        """Return the logit of each class against all else."""
        return _logit(head["cls_logits"].log_softmax(-1)[..., self.background :])

    def _matched(self, detector: Any, boxes: Tensor, anchors: Tensor) -> Tensor:
        if not len(boxes):
            return torch.full((len(anchors),), -1, dtype=torch.long, device=anchors.device)
        matched: Tensor = detector.proposal_matcher(box_iou(boxes, anchors))
        return matched


def _logit(log_p: Tensor) -> Tensor:
    """Return log p / (1 - p) from log p."""
    others: Tensor = (-torch.expm1(log_p.clamp(max=CERTAIN))).log()
    return log_p - others
