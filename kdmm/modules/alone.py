"""Training one model alone: the student as a baseline or by transfer learning, and the teacher itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

from torch import nn
from torchmetrics import Metric

from kdmm.errors import InputError
from kdmm.losses import Objective
from kdmm.models import LockedTowers, Preprocess
from kdmm.modules.base import TrainingModule
from kdmm.modules.optim import Optimization
from kdmm.outputs import Batch, Outputs
from kdmm.teachers import Answers

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
    """Trains or fine-tunes a teacher, with locked towers where the model freezes them.

    Args:
        teacher: the model.
        objective: hard terms and their weights. They read the model as their ``student``: it is the one in training.
        optimization: the optimizer and its schedule.
        metrics: as for :class:`TrainingModule`.
        features: computes the features of the locked towers (``freeze``) once before training instead of in
            every epoch; ``None`` runs the towers in every step.

    Raises:
        InputError: ``features`` for a model without locked towers.
    """

    role: ClassVar[str] = "teacher"

    def __init__(
        self,
        teacher: nn.Module,
        objective: Objective,
        optimization: Optimization,
        metrics: Mapping[str, Metric] | None = None,
        features: Answers | None = None,
    ) -> None:
        super().__init__(objective, optimization, metrics)
        self.teacher = teacher
        self.features = features
        self.locked: tuple[str, ...] = ()
        if features is not None:
            if not isinstance(teacher, LockedTowers) or not teacher.locked:
                raise InputError(
                    "TeacherModule.features: the teacher has no locked towers whose features could be computed "
                    "beforehand. Leave `features` out, or lock towers with the model's own `freeze`."
                )
            self.locked = teacher.locked

    @property
    def model(self) -> nn.Module:
        """The teacher."""
        return self.teacher

    @property
    def preprocess(self) -> dict[str, Preprocess]:
        """What the towers that run read; the locked ones' features are looked up."""
        return {"teacher": cast(Preprocess, self.teacher.preprocess).without(*self.locked)}

    @property
    def online_preprocess(self) -> dict[str, Preprocess]:
        """What the whole teacher reads."""
        return {"teacher": cast(Preprocess, self.teacher.preprocess)}

    def online_outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return the answer of the whole teacher, locked towers included."""
        return self.teacher(batch["teacher"]), {}

    def online(self) -> TeacherModule:
        """Run the locked towers from now on."""
        self.features, self.locked = None, ()
        return self

    def on_fit_start(self) -> None:
        """Compute the locked towers' features, now that the device is known."""
        if self.features is not None:
            wanted = cast(Preprocess, self.teacher.preprocess).only(*self.locked)
            data, model = self.dynamic_trainer.datamodule, cast(LockedTowers, self.teacher)
            self.features.prepare(data, ("train", "val"), model.towers, wanted, model.features)

    def outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return the teacher's answer as that of the model in training, and nothing beside it."""
        return self.teacher(self._looked_up(batch)["teacher"]), {}

    def update_metrics(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Update the metrics, of which some let the model write about what the locked towers gave."""
        super().update_metrics(student, teacher, self._looked_up(batch))

    def _looked_up(self, batch: Batch) -> Batch:
        """Return the batch with the locked towers' features, if they were computed beforehand."""
        if self.features is None:
            return batch
        found = {f"features/{name}": rows for name, rows in self.features.rows(batch["teacher"]).items()}
        return {**batch, "teacher": {**batch["teacher"], **found}}
