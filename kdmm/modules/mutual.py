"""Students that teach each other."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric

from kdmm.errors import InputError
from kdmm.losses import Objective
from kdmm.modules.base import TrainingModule
from kdmm.modules.optim import Optimization
from kdmm.outputs import Batch, Outputs

__all__ = ["MutualModule"]

TAKEN = frozenset({"loss", "weight", *dir(nn.ModuleDict())})


class MutualModule(TrainingModule):
    """Trains students together, each the others' teacher (deep mutual learning, Zhang et al. 2018, arXiv:1706.00384).

    A student's loss is the mean, over the others, of the objective with the other as the teacher, whose answer is taken
    as constant: the hard terms, and the mean divergence from the others. Here all students answer a batch and step
    together; the paper lets them step in turn, each after the others have answered anew. ``gradient_clip_val`` clips
    the gradients of all students together.

    The first student is the run's model, and ``train/loss``, ``train/<term>`` and ``val/loss`` are its own; those of
    another are ``train/<student>/loss`` and so on. The others are in the checkpoints alone, so a finished run is
    measured without them. Metrics read the first student, and the second as its ``teacher``.

    Args:
        students: two or more, by the name under which each reads its part of a batch.
        objective: hard and soft terms and their weights; each pair of student and other has a copy of its own.
        optimization: the optimizer of all students, and its schedule.
        metrics: as for :class:`TrainingModule`.

    Raises:
        InputError: fewer than two students, or a name that cannot be.
    """

    role: ClassVar[str] = "student"

    def __init__(
        self,
        students: Mapping[str, nn.Module],
        objective: Objective,
        optimization: Optimization,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__(objective, optimization, metrics)
        if len(students) < 2:
            raise InputError(
                f"MutualModule.students: {len(students)} given, and they teach each other. Give two or more, or take "
                "`kdmm.modules.StudentModule`."
            )
        for name in students:
            if name in TAKEN or not name.isidentifier():
                raise InputError(f"MutualModule.students: one is called {name!r}. Give it another name, such as 'a'.")
        self.students = nn.ModuleDict(dict(students))
        self.first = next(iter(students))
        self.others = list(students)[1:]
        pairs = list(itertools.permutations(students, 2))
        self.copies = nn.ModuleDict({_key(*pair): copy.deepcopy(objective) for pair in pairs[1:]})

    @classmethod
    def model_tree(cls, tree: Mapping[str, Any]) -> Any:
        """Return the first student's node."""
        return next(iter(tree["students"].values()))

    @classmethod
    def with_model(cls, tree: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
        """Return the tree with a model in the place of the first student's node."""
        return {**tree, "students": {**tree["students"], next(iter(tree["students"])): model}}

    @property
    def model(self) -> nn.Module:
        """The first student."""
        return self.students[self.first]

    @property
    def preprocess(self) -> dict[str, Any]:
        """Each student's preprocessing."""
        return {name: self.students[name].preprocess for name in (self.first, *self.others)}

    def online(self) -> MutualModule:
        """Go on with the first student alone: the others ended with training."""
        self.others = []
        return self

    def answers(self, batch: Batch) -> dict[str, Outputs]:
        """Return what each student says of the batch."""
        return {name: self.students[name](batch[name]) for name in (self.first, *self.others)}

    def outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return the first student's answer, and the second's as that of the teacher."""
        return self._as_pair(self.answers(batch))

    def build_terms(self, batch: Batch) -> None:
        """Build the terms of each pair."""
        answers = self.answers(batch)
        for name, other in itertools.permutations(answers, 2):
            self.objective_of(name, other).build(answers[name], answers[other], batch)

    def objective_of(self, student: str, other: str) -> Objective:
        """Return the objective of a student whose teacher is another."""
        key = _key(student, other)
        return cast(Objective, self.copies[key]) if key in self.copies else self.objective

    def loss_of(self, student: str, answers: Mapping[str, Outputs], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a student's loss, and its terms by name: means over the others."""
        each = [
            self.objective_of(student, other)(answers[student], _constant(answers[other]), batch)
            for other in answers
            if other != student
        ]
        means = {name: sum(parts[name] for _, parts in each) / len(each) for name in each[0][1]}
        return sum(loss for loss, _ in each) / len(each), means

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Return the sum of the students' losses of one batch."""
        for objective in (self.objective, *cast(list[Objective], self.copies.values())):
            objective.progress = self.progress()
        answers = self.answers(batch)
        losses = []
        for name in answers:
            loss, parts = self.loss_of(name, answers, batch)
            self.check_loss(loss, parts, batch)
            stage = "train" if name == self.first else f"train/{name}"
            self.log_parts(stage, loss, parts, self.objective_of(name, next(each for each in answers if each != name)))
            losses.append(loss)
        return cast(Tensor, sum(losses))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with a validation batch, and log the first student's loss."""
        answers = self.answers(batch)
        if self.has_trained_terms:
            loss, _ = self.loss_of(self.first, answers, batch)
            self.log("val/loss", loss, on_epoch=True, batch_size=len(batch["id"]), sync_dist=True)
        self.update_metrics(*self._as_pair(answers), batch)

    def _as_pair(self, answers: Mapping[str, Outputs]) -> tuple[Outputs, Outputs]:
        return answers[self.first], _constant(answers[self.others[0]]) if self.others else {}


def _key(student: str, other: str) -> str:
    return f"{student}-{other}"  # no identifier holds a dash


def _constant(outputs: Outputs) -> dict[str, Tensor]:
    return {name: x.detach() for name, x in outputs.items()}
