"""What the parts of a step cost, on its first batch; and the teacher's answers, heard once and given again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kdmm.analysis.cost import ModelCost, ObjectiveCost, seconds_of
from kdmm.analysis.memory import tensors_in
from kdmm.models import Preprocess
from kdmm.modules import DistillationModule
from kdmm.outputs import Batch, Outputs
from kdmm.runs.step_memory import batches_a_step
from kdmm.runs.store_size import TableSize
from kdmm.teachers import Teacher
from kdmm.teachers.cache.answering import answer, inputs_of
from kdmm.teachers.cache.members import members_of

__all__ = ["Heard", "KeptAnswers", "StepCosts"]


class StepCosts:
    """Counts and times the parts of a step on the first batch, in the precision of the Trainer.

    Args:
        tables: of a store, for whose rows the teacher is timed apart.
    """

    student: ModelCost
    teacher: ModelCost | None
    objective: ObjectiveCost

    def __init__(self, tables: Sequence[TableSize] = ()) -> None:
        self.tables = tables
        self.batches = 1
        """Of a step."""
        self.media = 0
        """Samples of a batch whose media the teacher looks at."""
        self.row_s: dict[str, float] = {}
        """Seconds of an answer, by the table that it is for."""

    def look(self, trainer: Any, module: DistillationModule, batch: Batch) -> None:
        """Count and time, once."""
        if hasattr(self, "student"):
            return
        self.batches = batches_a_step(trainer)
        training = module.training
        module.eval()
        # Operations are counted as they are written, and computed as they are in training.
        with torch.compiler.set_stance("force_eager"), trainer.precision_plugin.train_step_context():
            with torch.no_grad():
                said = module.student(batch["student"])
                heard = module.teacher.answer(batch)
            self.student = ModelCost.of_student(module.student, batch["student"])
            models = module.teacher.models
            self.teacher = ModelCost.of_teacher(models, lambda: module.teacher.answer(batch)) if models else None
            self.objective = ObjectiveCost.of(module.objective, said, heard, batch)
            self.row_s = dict(self._rows(module, batch))
        module.train(training)
        module.zero_grad()

    def _rows(self, module: DistillationModule, batch: Batch) -> Iterator[tuple[str, float]]:
        for table in self.tables:
            member, part = members_of(module.teacher)[table.part], batch[table.part]
            flags = torch.stack([part[f"present/{each}"] for each in table.reads])
            rows = int(flags.all(0).sum())
            if not rows:
                continue
            if table.is_media:
                self.media = max(self.media, rows)
            if bool(flags.all()) or len(table.reads) == 1:
                inputs = inputs_of(part, member.preprocess.only(*table.reads))
                with torch.no_grad():
                    yield table.name, seconds_of(partial(answer, member, inputs), flags.device) / rows
            else:  # samples that have it all are answered beside others
                yield table.name, self.teacher.seconds / rows if self.teacher else 0.0


class Heard:
    """Keeps what a teacher says of each batch, on the CPU.

    Args:
        module: that asks it.
    """

    def __init__(self, module: DistillationModule) -> None:
        self.answers: list[Outputs] = []
        self._last: Outputs | None = None
        self._outputs = module.outputs
        module.outputs = self._hear  # type: ignore[method-assign]  # for as long as it takes

    def _hear(self, batch: Batch) -> tuple[Outputs, Outputs]:
        student, self._last = self._outputs(batch)
        return student, self._last

    def keep(self) -> None:
        """Keep the last batch's answer."""
        if self._last is not None:
            self.answers.append(_on(self._last, torch.device("cpu")))
            self._last = None

    def end(self, module: DistillationModule) -> None:
        """Keep the last answer, and listen no more."""
        self.keep()
        module.outputs = self._outputs  # type: ignore[method-assign]  # as it was


class KeptAnswers(Teacher):
    """Says what a running teacher said of the same batches, in their order.

    Args:
        answers: of the batches.
        parts: the names in a batch of what the teacher read.
    """

    def __init__(self, answers: Sequence[Outputs], parts: Sequence[str]) -> None:
        super().__init__()
        self._answers = (answers,)
        self._parts = tuple(parts)
        self._next = 0

    @property
    def preprocesses(self) -> dict[str, Preprocess]:
        """Nothing is read."""
        return {part: Preprocess() for part in self._parts}

    def answer(self, batch: Batch) -> Outputs:
        """Return the next answer."""
        answers = self._answers[0]
        self._next += 1
        return _on(answers[(self._next - 1) % len(answers)], next(tensors_in(batch)).device)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Return the next answer."""
        return self.answer(batch)

    def online(self) -> KeptAnswers:
        """Return itself."""
        return self


def _on(outputs: Outputs, device: torch.device) -> dict[str, Tensor]:
    return {name: x.to(device) for name, x in outputs.items()}
