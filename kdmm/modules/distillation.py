"""The distillation step: a student in training beside a teacher that is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from torch import nn
from torchmetrics import Metric

from kdmm.losses import Objective
from kdmm.metrics import Agreement, Retrieval
from kdmm.models import Preprocess
from kdmm.modules.base import TrainingModule
from kdmm.modules.optim import Optimization
from kdmm.outputs import Batch, Outputs
from kdmm.teachers import Absent, Teacher

__all__ = ["DistillationModule"]


class DistillationModule(TrainingModule):
    """Trains a student by a teacher (Hinton et al. 2015, https://arxiv.org/abs/1503.02531).

    Args:
        student: the model in training.
        teacher: that no optimizer trains.
        objective: hard and soft terms and their weights.
        optimization: the optimizer and its schedule.
        metrics: as for :class:`TrainingModule`.
    """

    role: ClassVar[str] = "student"

    def __init__(
        self,
        student: nn.Module,
        teacher: Teacher,
        objective: Objective,
        optimization: Optimization,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__(objective, optimization, metrics)
        self.student = student
        self.teacher = teacher
        self.teacher.attach(student)
        if metrics is None and not teacher.outlasts_training:
            self.metrics = nn.ModuleDict(dict(super().default_metrics()))

    def default_metrics(self) -> dict[str, Metric]:
        """Return the student's retrieval, the teacher's, for retention, and how far the two agree."""
        return {
            **super().default_metrics(),
            "agreement": Agreement(),
            "teacher": Retrieval(pair=["teacher.image", "teacher.text"]),
        }

    @property
    def model(self) -> nn.Module:
        """The student."""
        return self.student

    @property
    def preprocess(self) -> dict[str, Any]:
        """The student's preprocessing and the teacher's."""
        return {"student": self.student.preprocess, **self.teacher.preprocesses}

    @property
    def reader(self) -> nn.Module:
        """The student, or the running teacher of a student without a text tower, which shares its space."""
        theirs = self.running_teacher
        reads_itself = cast(Preprocess, self.student.preprocess).text is not None
        return self.student if reads_itself or theirs is None else theirs

    @property
    def running_teacher(self) -> nn.Module | None:
        """The running teacher's model."""
        return self.teacher.online().reader if self.teacher.outlasts_training else None

    @property
    def online_preprocess(self) -> dict[str, Any]:
        """The student's preprocessing and the running teacher's."""
        return {"student": self.student.preprocess, **self.teacher.online().preprocesses}

    def online_outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return the student's and the running teacher's answer."""
        return self.student(batch["student"]), self.teacher.online().answer(batch)

    def online(self) -> DistillationModule:
        """Run the teacher from now on, if it is still there."""
        self.teacher = self.teacher.online() if self.teacher.outlasts_training else Absent()
        return self

    def on_fit_start(self) -> None:
        """Let the teacher look ahead at the data, now that the device is known."""
        self.teacher.prepare(self.dynamic_trainer.datamodule, ("train", "val"))

    def optimizer_step(self, *arguments: Any, **settings: Any) -> None:
        """Take a step, and let the teacher look at the student after it, before any state is saved."""
        super().optimizer_step(*arguments, **settings)
        self.teacher.after_step(self.student)

    def outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return both answers; the teacher's is made first, before the student's graph takes memory."""
        theirs = self.teacher.answer(batch)
        return self.student(batch["student"]), theirs
