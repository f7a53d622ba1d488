"""How well objects are found: mean average precision of boxes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision as CocoEvaluation

from kdmm.errors import InputError
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.samples import first_rows, hash_ids, read_batch
from kdmm.outputs import Batch, Outputs, present, read

__all__ = ["MeanAveragePrecision"]

GIVEN = ("map", "map_50", "map_75", "mar_100")
"""Of COCO's numbers; those by size are of pictures of COCO's size."""


class MeanAveragePrecision(SampleMetric):
    """COCO's mean average precision of boxes (Lin et al. 2014, https://arxiv.org/abs/1405.0312), by pycocotools.

    Gives ``map``, the mean over classes and over the overlaps 0.5, 0.55, ..., 0.95 that a right box has at least,
    ``map_50`` and ``map_75`` for one overlap, ``mar_100``, the mean of the highest recall by 100 boxes a picture, and,
    with names, ``ap/<class>``; for the teacher the same under ``teacher/``. A class without an object in the data does
    not count, and has NaN; where there is no object at all, all values are NaN. Only pictures that are marked count,
    those without objects too: what is found there is wrong. A picture that comes again is dropped.

    Needs ``pip install 'kdmm[detection]'``.

    Args:
        class_names: of all classes in order, for values of each; ``None``: the means alone.
        detections: the output that holds them, (B, K, 6): x1, y1, x2, y2 in pixels of the canvas, score, class; with
            ``valid/<name>`` (B, K), which of them there are.
        role: whose they are.

    Raises:
        InputError: pycocotools is not installed.
    """

    higher_is_better = True

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        detections: str = "detections",
        role: Literal["student", "teacher"] = "student",
    ) -> None:
        super().__init__(["sample", "counts", "found", "marked"])
        if importlib.util.find_spec("pycocotools") is None:
            raise InputError(
                "MeanAveragePrecision: pycocotools is not installed. Install it by `pip install 'kdmm[detection]'`."
            )
        self.class_names = None if class_names is None else tuple(class_names)
        self.detections = detections
        self.role = role

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Add a batch's pictures.

        Args:
            student: its detections are read, or else the teacher's.
            teacher: as the student.
            batch: ``id``, ``boxes``, ``box_classes`` and ``marked`` are read.

        Raises:
            InputError: the batch says nothing of boxes, or has one of a class without a name.
        """
        outputs = student if self.role == "student" else teacher
        found = read(outputs, self.detections, self.role).detach().float()
        there = outputs.get(f"valid/{self.detections}", torch.ones(found.shape[:2], dtype=torch.bool)).to(found.device)
        marked = torch.as_tensor(read_batch(batch, "marked", "MeanAveragePrecision"), device=found.device)
        flag = (present(outputs, self.detections) & marked).cpu()
        boxes = [read_batch(batch, name, "MeanAveragePrecision") for name in ("boxes", "box_classes")]
        sample = hash_ids(read_batch(batch, "id", "MeanAveragePrecision"))
        for row in flag.nonzero().flatten().tolist():
            mine = found[row][there[row]]
            truth = torch.cat([boxes[0][row].to(mine), boxes[1][row].to(mine)[:, None]], 1)
            self._check(truth[:, 4])
            self.append("sample", sample[row : row + 1].to(mine.device))
            self.append("counts", torch.tensor([[len(mine), len(truth)]], device=mine.device))
            self.append("found", mine)
            self.append("marked", truth)

    def compute(self) -> dict[str, Tensor]:
        """Return the values.

        Raises:
            InputError: no marked picture was added.
        """
        sample = self.stacked("sample")
        if not len(sample):
            raise InputError(
                "MeanAveragePrecision has seen no marked picture. Evaluate on a split that is marked, and set `canvas` "
                "of the data."
            )
        counts = self.stacked("counts").T.tolist()
        found, marked = (
            torch.split(self.stacked(name), each) for name, each in zip(("found", "marked"), counts, strict=True)
        )
        # all ranks' pictures are here: the inner metric must not gather them once more
        evaluation = CocoEvaluation(class_metrics=self.class_names is not None, sync_on_compute=False)
        evaluation.warn_on_many_detections = False
        for row in first_rows(sample[:, None]).tolist():
            mine, truth = found[row], marked[row]
            evaluation.update(
                [{"boxes": mine[:, :4], "scores": mine[:, 4], "labels": mine[:, 5].long()}],
                [{"boxes": truth[:, :4], "labels": truth[:, 4].long()}],
            )
        computed = evaluation.compute()
        values = {name: _or_nan(computed[name]) for name in GIVEN}
        if self.class_names is not None:
            seen = dict(zip(computed["classes"].flatten().tolist(), computed["map_per_class"].flatten(), strict=True))
            nothing = torch.tensor(-1.0)
            for number, name in enumerate(self.class_names):
                values[f"ap/{name}"] = _or_nan(seen.get(number, nothing))
        return values if self.role == "student" else {f"teacher/{name}": value for name, value in values.items()}

    def _check(self, classes: Tensor) -> None:
        if self.class_names is not None and len(classes) and int(classes.max()) >= len(self.class_names):
            raise InputError(
                f"MeanAveragePrecision.class_names: an object is of class {int(classes.max())}, and "
                f"{len(self.class_names)} names are given. Name all classes, as kdmm.data.ClassNames does."
            )


def _or_nan(value: Tensor) -> Tensor:
    """Return a value; NaN for COCO's -1, which says that there is none."""
    return torch.where(value < 0, math.nan, value)
