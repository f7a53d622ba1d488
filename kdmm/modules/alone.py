"""Training one model alone: the student as a baseline or by transfer learning, and the teacher itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn
from torchmetrics import Metric

from kdmm.losses import Objective
from kdmm.modules.base import TrainingModule
from kdmm.modules.optim import Optimization
from kdmm.outputs import Batch, Outputs

__all__ = ["StudentModule", "TeacherModule"]


class StudentModule(TrainingModule):
    """Trains the student without a teacher: the baseline, or transfer learning where it begins from given weights.

    Args:
        student: the model.
        objective: hard terms and their weights.
        optimization: the optimizer and its schedule.
        metrics: as for :class:`TrainingModule`.
    """

    role: ClassVar[str] = "student"

    def __init__(
        self,
        student: nn.Module,
        objective: Objective,
        optimization: Optimization,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__(objective, optimization, metrics)
        self.student = student

    @property
    def model(self) -> nn.Module:
        """The student."""
        return self.student

    def outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return the student's answer, and nothing for the teacher's."""
        return self.student(batch["student"]), {}


class TeacherModule(TrainingModule):
    """Trains or fine-tunes a teacher, with locked towers where the model freezes them (``DualEncoder.freeze``).

    Args:
        teacher: the model.
        objective: hard terms and their weights. They read the model as their ``student``: it is the one in training.
        optimization: the optimizer and its schedule.
        metrics: as for :class:`TrainingModule`.
    """

    role: ClassVar[str] = "teacher"

    def __init__(
        self,
        teacher: nn.Module,
        objective: Objective,
        optimization: Optimization,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__(objective, optimization, metrics)
        self.teacher = teacher

    @property
    def model(self) -> nn.Module:
        """The teacher."""
        return self.teacher

    def outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return the teacher's answer as that of the model in training, and nothing beside it."""
        return self.teacher(batch["teacher"]), {}
