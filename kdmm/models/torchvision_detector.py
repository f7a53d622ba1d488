"""Torchvision's detectors, with backbones of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.detection.build import check, load, on_backbone, whole
from kdmm.models.detection.dense import Fcos, RetinaNet, Ssd
from kdmm.models.detection.family import Family, Found, Limits, Target
from kdmm.models.detection.pyramid import Backbone
from kdmm.models.detection.two_stage import TwoStage
from kdmm.models.preprocess import ImageTransform, Preprocess
from kdmm.outputs import Outputs, scatter_present

__all__ = ["TorchvisionDetector"]

FAMILIES: dict[str, Family] = {
    "fcos": Fcos(),
    "retinanet": RetinaNet(),
    "fasterrcnn": TwoStage(),
    "ssdlite320": Ssd(),
    "ssd300": Ssd(),
}
"""By the first word of torchvision's names."""


class TorchvisionDetector(nn.Module):
    """Finds objects: FCOS, RetinaNet, SSD or Faster R-CNN as torchvision has them.

    In both modes it gives, where the batch says what is marked (``canvas`` of the DataModule), torchvision's own losses
    of the marked pictures as scalars ``loss/<part>`` for :class:`kdmm.losses.OwnLoss`, 0 if none is marked. In
    evaluation it gives ``detections`` (B, K, 6): x1, y1, x2, y2 in pixels of the canvas, score, class, the best first,
    and ``valid/detections`` (B, K), which of them there are. All but Faster R-CNN give what
    :class:`kdmm.losses.AnchorKD` reads, for each of A anchors: ``class_logits`` (B, A, C), whose sigmoid is the score
    of a detection (of FCOS with its centre-ness), ``anchor_boxes`` (B, A, 4) and ``anchors`` (B, A, 4), both in pixels
    of the canvas. Without a canvas, pixels are those of ``image_size``.

    Inner layers are tapped by :class:`kdmm.models.Tapped`, such as ``detector.backbone.fpn.layer_blocks.0`` (the
    pyramid's finest level) and, but for Faster R-CNN, ``detector.head.classification_head``.

    Args:
        name: of torchvision's detectors with their own backbone, such as ``fcos_resnet50_fpn``,
            ``retinanet_resnet50_fpn_v2``, ``fasterrcnn_resnet50_fpn`` or ``ssdlite320_mobilenet_v3_large``; or ``fcos``
            or ``retinanet`` on the ``backbone`` given.
        classes: C.
        image_size: side of the square that it reads, pixels; pictures and boxes of other sizes are scaled.
        backbone: any module with ``out_channels`` and ``strides`` that gives maps by level, such as
            :class:`kdmm.models.TimmPyramid`; for small detectors.
        anchor_sizes: of each level of ``backbone``, pixels: RetinaNet's smallest anchors, by default 4 strides; FCOS
            looks on a level for objects that reach 4 to 8 sizes from the place, less on the first and more on the last,
            by default of a stride.
        weights: a file of the whole detector, such as torchvision's of COCO, a path or ``package:<module>/<path>``; the
            layers of another number of classes begin at random.
        score_threshold: a detection's score is above it.
        overlap: of two boxes of a class whose intersection over union is larger, the one with the lower score goes.
        detections: K, of one picture.

    Raises:
        InputError: an unknown name, a setting outside its range, or weights that do not fit.
    """

    def __init__(
        self,
        name: str,
        classes: int,
        image_size: int,
        backbone: Backbone | None = None,
        anchor_sizes: Sequence[int] | None = None,
        weights: str | None = None,
        score_threshold: float | int = 0.05,
        overlap: float | int = 0.5,
        detections: int = 100,
    ) -> None:
        super().__init__()
        check(name, classes, backbone, anchor_sizes)
        if not (0 <= score_threshold < 1 and 0 < overlap <= 1 and detections >= 1):
            raise InputError(
                f"TorchvisionDetector: score_threshold {score_threshold}, overlap {overlap}, detections {detections} "
                "given; give shares, of 0 or more and below 1 and of above 0 and at most 1, and at least 1 detection."
            )
        self.classes = classes
        self.image_size = image_size
        self.family = FAMILIES[name.partition("_")[0]]
        self.limits = Limits(float(score_threshold), float(overlap), detections)
        number = classes + self.family.background
        if backbone is None:
            self.detector: Any = whole(name, number, self.family.arguments(self.limits))
        else:
            self.detector = on_backbone(name, number, backbone, anchor_sizes)
        if weights is not None:
            load(self.detector, weights)
        transform = self.detector.transform
        mean, std = tuple(transform.image_mean), tuple(transform.image_std)
        self.preprocess = Preprocess(image=ImageTransform(image_size, mean, std, "bilinear", "squash"), marks=True)

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any]) -> None:
        """Refuse a wrong name or number of classes before anything is built.

        Args:
            arguments: of a ``_target_`` node, with the node of the backbone not built.

        Raises:
            InputError: as when it is made.
        """
        name, classes = arguments["name"], arguments["classes"]
        if isinstance(name, str) and isinstance(classes, int):  # and no nodes, which are not built
            check(name, classes, arguments.get("backbone"), arguments.get("anchor_sizes"))

    @classmethod
    def gives(cls, arguments: Mapping[str, Any]) -> frozenset[str] | None:
        """Return what a detector of this name gives besides losses."""
        family = FAMILIES.get(str(arguments.get("name")).partition("_")[0])
        return None if family is None else family.gives | {"detections"}

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Detect.

        Args:
            batch: ``image`` (N, 3, S, S) of the N samples with pictures and ``present/image`` (B,); of marked pictures
                also ``boxes``, ``box_classes``, ``marked`` and ``image_size``, as the DataModule gives them.

        Raises:
            InputError: no sample has a picture, or a box is of a class that the detector lacks.
        """
        flag = batch.get("present/image")
        if "image" not in batch:
            raise InputError(
                "TorchvisionDetector: none of a batch's samples has a picture. Let each batch take some from a source "
                "with pictures, by `batch_size`."
            )
        image = batch["image"]
        if flag is None:
            flag = torch.ones(len(image), dtype=torch.bool, device=image.device)
        height, width = batch.get("image_size", image.shape[2:])
        scale = image.new_tensor([width / image.shape[3], height / image.shape[2]]).repeat(2)
        found: Found = self.family.run(self.detector, image, _targets(batch, flag, scale, self.classes), self.limits)
        rows = {name: x if name == "class_logits" else x * scale for name, x in found.dense.items()}
        there = {}
        if found.detections is not None:
            detections, valid = found.detections
            rows["detections"] = torch.cat([detections[..., :4] * scale, detections[..., 4:]], -1)
            there["valid/detections"] = scatter_present(valid.float(), flag) > 0
        return {
            **{f"loss/{part}": x for part, x in found.losses.items()},
            **{name: scatter_present(x, flag) for name, x in rows.items()},
            **{f"present/{name}": flag for name in rows},
            **there,
        }


def _targets(batch: Mapping[str, Any], flag: Tensor, scale: Tensor, classes: int) -> list[Target | None] | None:
    """Return what is marked in each picture, in pixels of the detector's input; None where the batch does not say.

    Raises:
        InputError: a box is of a class that the detector lacks.
    """
    if "boxes" not in batch:
        return None
    marked = cast(Tensor, batch["marked"] & flag).tolist()
    numbers = torch.cat([*batch["box_classes"], flag.new_zeros(1, dtype=torch.long)])
    for number in torch.stack(numbers.aminmax()).tolist():
        if not 0 <= number < classes:
            raise InputError(
                f"TorchvisionDetector.classes: {classes} given, which are numbered from 0, and a box is of the class "
                f"{number}. Give as many as the data's `box_classes` has names (`kdmm.data.ClassNames`)."
            )
    return [
        Target(batch["boxes"][row] / scale, batch["box_classes"][row]) if marked[row] else None
        for row in flag.nonzero().flatten().tolist()
    ]
