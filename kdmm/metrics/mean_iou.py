"""How well the classes of pixels are found: intersection over union, of areas and of their edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from kdmm.errors import InputError
from kdmm.metrics.functional.boundary import inner_boundary
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.samples import first_rows, hash_ids, read_batch
from kdmm.outputs import Batch, Outputs, present, read

__all__ = ["MeanIoU"]

UNLABELLED = 255


class MeanIoU(SampleMetric):
    """Mean intersection over union of classes, pixel accuracy, and the boundary IoU.

    Gives ``miou``, ``pixel_accuracy``, ``boundary_iou`` and, with names, ``iou/<class>``; for the teacher the same
    under ``teacher/``. Intersections and unions are of all pixels of all samples, as in Pascal VOC; the mean is over
    the classes that are labelled or predicted somewhere, and another class has NaN. The boundary IoU (Cheng et al.
    2021, https://arxiv.org/abs/2103.16562) compares only pixels near the edges of a class's area, in the labels and in
    the predictions; we differ in classes of pixels in place of objects. The logits are interpolated to the map of
    labels. A pixel labelled 255 does not count, and a sample that comes again is dropped.

    Args:
        class_names: of all C classes in order, for values of each; ``None``: the means alone.
        label: the batch's entry that holds the classes of pixels (B, H, W), in [0, C), or 255.
        logits: the output that holds the scores (B, C, I, J).
        role: whose they are.
        boundary: how far from the edge, in parts of the map's diagonal, at least a pixel; ``None``: no boundary IoU.
    """

    higher_is_better = True

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        label: str = "label_map",
        logits: str = "logits",
        role: Literal["student", "teacher"] = "student",
        boundary: float | None = 0.02,
    ) -> None:
        super().__init__(["sample", "counts"])
        self.class_names = None if class_names is None else tuple(class_names)
        self.label = label
        self.logits = logits
        self.role = role
        self.boundary = boundary
        if boundary is not None and not 0 < boundary < 1:
            raise InputError(f"MeanIoU.boundary: {boundary} given; it is a part of the diagonal, above 0 and below 1.")

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Add a batch's samples.

        Args:
            student: its logits are read, or else the teacher's.
            teacher: as the student.
            batch: ``id`` and the labels are read.

        Raises:
            InputError: a label of no class, other classes than are named, or no labels in the batch.
        """
        outputs = student if self.role == "student" else teacher
        scores = read(outputs, self.logits, self.role)
        target = torch.as_tensor(read_batch(batch, self.label, "MeanIoU"), device=scores.device).long()
        flag = present(outputs, self.logits)
        scores, target = scores[flag].float(), target[flag]
        self._check(scores.shape[1], target)
        scores = F.interpolate(scores, size=target.shape[1:], mode="bilinear", align_corners=False)
        for predicted, wanted in zip(scores.argmax(1), target, strict=True):
            self.append("counts", self._counts(predicted, wanted, scores.shape[1])[None])
        self.append("sample", hash_ids(read_batch(batch, "id", "MeanIoU")).to(flag.device)[flag])

    def _check(self, classes: int, target: Tensor) -> None:
        if self.class_names is not None and len(self.class_names) != classes:
            raise InputError(
                f"MeanIoU.class_names: {len(self.class_names)} given, and the {self.role} scores {classes} classes. "
                "Name them all, the background too."
            )
        known = target[target != UNLABELLED]
        if len(known) and not 0 <= int(known.min()) <= int(known.max()) < classes:
            raise InputError(
                f"MeanIoU: batch[{self.label!r}] holds labels from {int(known.min())} to {int(known.max())}, but the "
                f"{self.role} scores {classes} classes. Set the model's `classes`."
            )

    def _counts(
        self, predicted: Int64[Tensor, "H W"], target: Int64[Tensor, "H W"], classes: int
    ) -> Int64[Tensor, "5 C"]:
        """Return of each class the pixels right, labelled and predicted, and near edges those in both and in either."""
        counted = target != UNLABELLED
        # of the pixels that count alone: torchmetrics refuses predictions that stand where a label is ignored
        confusion = multiclass_confusion_matrix(predicted[counted], target[counted], classes, validate_args=False)
        areas = [confusion.diagonal(), confusion.sum(1), confusion.sum(0)]
        if self.boundary is None:
            return torch.stack([*areas, *torch.zeros_like(areas[0]).expand(2, -1)])
        distance = max(1, round(self.boundary * math.hypot(*target.shape)))
        every = torch.arange(classes, device=target.device)[:, None, None]
        # what does not count is outside for both alike
        ours, theirs = (inner_boundary((each == every) & counted, distance) for each in (predicted, target))
        edges = [(ours & theirs).flatten(1).sum(1), (ours | theirs).flatten(1).sum(1)]
        return torch.stack([*areas, *edges])

    def compute(self) -> dict[str, Tensor]:
        """Return the values.

        Raises:
            InputError: no sample with a labelled pixel was added.
        """
        sample = self.stacked("sample")
        if not len(sample) or not bool(self.stacked("counts")[:, 1].any()):
            raise InputError(f"MeanIoU has seen no pixel with a {self.label!r}. Evaluate on a split that is marked.")
        right, labelled, predicted, near_both, near_either = self.stacked("counts")[first_rows(sample[:, None])].sum(0)
        ious = right / (labelled + predicted - right)  # 0 / 0 is NaN
        values = {"miou": ious.nanmean(), "pixel_accuracy": right.sum() / labelled.sum()}
        if self.boundary is not None:
            values["boundary_iou"] = (near_both / near_either).nanmean()
        for name, iou in zip(self.class_names or (), ious, strict=False):
            values[f"iou/{name}"] = iou
        return values if self.role == "student" else {f"teacher/{name}": value for name, value in values.items()}
