"""Metrics of scores of classes against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from kdmm.errors import InputError
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.samples import first_rows, hash_ids, read_batch
from kdmm.outputs import Batch, Outputs, present, read

__all__ = ["LabelledMetric"]

UNLABELLED = -1  # the DataModule's number for a sample without this label


class LabelledMetric(SampleMetric):
    """Reads the scores of the samples with a label; one with label -1 for none does not count.

    Keeps ``sample`` and ``target`` beside the states of the subclass, one row a sample.

    Args:
        label: the batch's entry that holds (B,) labels in [0, C), or -1.
        logits: the output that holds the scores (B, C).
        role: whose they are.
        states: of the subclass.
    """

    def __init__(self, label: str, logits: str, role: Literal["student", "teacher"], states: Sequence[str]) -> None:
        super().__init__(["sample", "target", *states])
        self.label = label
        self.logits = logits
        self.role = role

    def add(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Add a batch's samples and labels, and return their scores (N, C).

        Raises:
            InputError: a label of no class, or no labels in the batch.
        """
        name = type(self).__name__
        scores = read(student if self.role == "student" else teacher, self.logits, self.role)
        target = torch.as_tensor(read_batch(batch, self.label, name), device=scores.device).long()
        flag = present(student if self.role == "student" else teacher, self.logits) & (target != UNLABELLED)
        target = target[flag]
        if len(target) and not 0 <= int(target.min()) <= int(target.max()) < scores.shape[1]:
            raise InputError(
                f"{name}: batch[{self.label!r}] holds labels from {int(target.min())} to {int(target.max())}, but the "
                f"{self.role} has {scores.shape[1]} classes. Set the model's `classes`."
            )
        self.append("target", target)
        self.append("sample", hash_ids(read_batch(batch, "id", name)).to(flag.device)[flag])
        return scores[flag]

    def rows(self) -> Tensor:
        """Return the row of each sample's first appearance.

        Raises:
            InputError: no sample with scores and a label was added.
        """
        sample = self.stacked("sample")
        if not len(sample):
            name = type(self).__name__
            raise InputError(f"{name} has seen no sample with a {self.label!r}. Evaluate on a split that has them.")
        return first_rows(sample[:, None])

    def named(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return values under names that tell whose they are."""
        prefix = "" if self.role == "student" else "teacher/"
        return {f"{prefix}{name}": value for name, value in values.items()}
