"""How often the right class has the highest score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from kdmm.metrics.functional import Positives, ranks, recall_at_k
from kdmm.metrics.labelled import LabelledMetric
from kdmm.metrics.samples import check_depths
from kdmm.outputs import Batch, Outputs

__all__ = ["Accuracy"]

CALIBRATION_BINS = 15  # of Guo et al. 2017, https://arxiv.org/abs/1706.04599


class Accuracy(LabelledMetric):
    """Top-k accuracy, the mean over classes of the top-1 accuracy, and the expected calibration error.

    Gives ``top1``, ..., ``mean_per_class`` and ``calibration_error``; for the teacher the same under ``teacher/``. A
    sample with label -1 for none does not count, and one that comes again is dropped. A class with the same score as
    the right one ranks before it, so constant scores are never right.

    Args:
        label: the batch's entry that holds (B,) labels in [0, C), or -1.
        k: depths of the accuracies.
        logits: the output that holds the scores (B, C).
        role: whose they are.
    """

    higher_is_better = None

    def __init__(
        self,
        label: str = "label",
        k: Sequence[int] = (1,),
        logits: str = "logits",
        role: Literal["student", "teacher"] = "student",
    ) -> None:
        super().__init__(label, logits, role, ["scores"])
        self.k = check_depths(k, "Accuracy")

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Add a batch's samples.

        Args:
            student: its logits are read, or else the teacher's.
            teacher: as the student.
            batch: ``id`` and the labels are read.

        Raises:
            InputError: a label of no class, or no labels in the batch.
        """
        self.append("scores", self.add(student, teacher, batch).float())

    def compute(self) -> dict[str, Tensor]:
        """Return the accuracies.

        Raises:
            InputError: no sample with scores and a label was added.
        """
        rows = self.rows()
        scores, target = self.stacked("scores")[rows], self.stacked("target")[rows]
        classes = torch.eye(scores.shape[1], device=scores.device)  # so that scores are products with the classes
        rank = ranks(scores, classes, Positives.by_group(target, torch.arange(len(classes), device=target.device)))
        values = {f"top{k}": recall_at_k(rank, k) for k in self.k}
        _, which = torch.unique(target, return_inverse=True)
        correct = which[rank == 1].bincount(minlength=int(which.max()) + 1)
        values["mean_per_class"] = (correct / which.bincount()).mean()
        values["calibration_error"] = multiclass_calibration_error(
            scores.softmax(1), target, scores.shape[1], n_bins=CALIBRATION_BINS
        )
        return self.named(values)
