"""Several teachers as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.losses.term import checked_choice, checked_number
from kdmm.models import Preprocess
from kdmm.outputs import MODALITIES, Batch, Outputs, present
from kdmm.teachers.combine import confidence, joined, mixed
from kdmm.teachers.names import within
from kdmm.teachers.teacher import Teacher
from kdmm.teachers.view_source import ViewSource

__all__ = ["Combine", "Ensemble"]

Combine = Literal["mean", "confidence"]
SCALARS = ("logit_scale", "logit_bias")
TAKEN = frozenset({"student", "present", "valid", *dir(nn.ModuleDict())})


class Ensemble(Teacher):
    """Several teachers, each with its own preprocessing, as one.

    What each of them says is called ``<teacher>/<name>``, such as ``a/logits`` or the tap ``b/s4``. What all of them
    say is combined under its own name, for the samples that are present to all:

    - ``logits``: T times the logarithm of the (weighted) mean of probabilities at temperature T (Hinton et al. 2015,
      https://arxiv.org/abs/1503.02531, average their ensemble's probabilities). So ``temperature: 1`` gives
      log-probabilities, and a term whose temperature is T sees the mean of probabilities itself.
    - embeddings: side by side, each scaled by the root of its weight, so that they are of unit length and their inner
      products are the means of the teachers' cosines.
    - ``logit_scale`` and ``logit_bias``: their means. With equal scales ``scale * cosine`` is the mean of the teachers'
      own logits; with very different ones it is not, so set the term's ``teacher_temperature``.

    Weights that are learned are not a teacher's, which no loss can reach: see `kdmm.teachers.LearnedWeights`.

    Args:
        teachers: by name, under which each reads its part of a batch.
        combine: ``mean`` takes the weights as they are; ``confidence`` also weights the probabilities for each sample
            by how certain a teacher is, `kdmm.teachers.combine.confidence` (embeddings have no certainty).
        weights: of the teachers, by name, relative to each other; ``None`` for equal ones.
        temperature: T, of ``logits``.
        temperatures: by teacher, what its logits, and its ``logit_scale`` and ``logit_bias``, are divided by before
            anything is combined, such as those that calibrate it; ``None``: 1 for all. (A term that reads one
            teacher's ``a/image`` has a ``teacher_temperature`` of its own.)

    Raises:
        InputError: no teachers, or names, weights or a temperature that cannot be.
    """

    def __init__(
        self,
        teachers: Mapping[str, Teacher],
        combine: Combine = "mean",
        weights: Mapping[str, float | int] | None = None,
        temperature: float | int = 1.0,
        temperatures: Mapping[str, float | int] | None = None,
    ) -> None:
        super().__init__()
        if not teachers:
            raise InputError("Ensemble.teachers: none are given. Give at least one.")
        for name, teacher in teachers.items():
            if name in TAKEN or not name.isidentifier():
                raise InputError(f"Ensemble.teachers: one is called {name!r}. Give it another name, such as 'large'.")
            if isinstance(teacher, Ensemble):
                raise InputError(f"Ensemble.teachers: {name!r} is an ensemble itself. Name its teachers here instead.")
        self.teachers = nn.ModuleDict(dict(teachers))
        self.combine = checked_choice("Ensemble.combine", combine, get_args(Combine))
        self.weights = _normalized(weights, list(teachers))
        self.temperature = checked_number("Ensemble.temperature", temperature, above=0.0)
        self.temperatures = _positive("temperatures", temperatures, list(teachers))

    @property
    def recipe(self) -> dict[str, Any]:
        """How the teachers are one: the arguments besides them."""
        return {
            "combine": self.combine,
            "weights": self.weights,
            "temperature": self.temperature,
            "temperatures": self.temperatures,
        }

    def each(self) -> dict[str, Teacher]:
        """Return the teachers by name."""
        return cast(dict[str, Teacher], dict(self.teachers.items()))

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """Those of all teachers."""
        return tuple(model for teacher in self.each().values() for model in teacher.models)

    @property
    def preprocesses(self) -> dict[str, Preprocess]:
        """What each teacher reads."""
        return {name: teacher.preprocess for name, teacher in self.each().items()}

    @property
    def outlasts_training(self) -> bool:
        """Whether all teachers are there when a finished run is measured."""
        return all(teacher.outlasts_training for teacher in self.each().values())

    def online(self) -> Ensemble:
        """Return the ensemble of the running teachers."""
        return Ensemble({name: teacher.online() for name, teacher in self.each().items()}, **self.recipe)

    def attach(self, student: nn.Module) -> None:
        """Let each teacher look at the student."""
        for teacher in self.each().values():
            teacher.attach(student)

    def prepare(self, data: ViewSource, splits: Iterable[str]) -> None:
        """Let each teacher look ahead."""
        splits = list(splits)
        for teacher in self.each().values():
            teacher.prepare(data, splits)

    def after_step(self, student: nn.Module) -> None:
        """Let each teacher look at the student."""
        for teacher in self.each().values():
            teacher.after_step(student)

    def answer(self, batch: Batch) -> Outputs:
        """Return what the teachers say of a batch."""
        outputs: Outputs = self(batch)
        return outputs

    @torch.no_grad()
    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Return what the teachers say of a batch, each of its own part.

        Raises:
            InputError: logits of different shapes.
        """
        answers = {name: self._divided(name, teacher(batch[name])) for name, teacher in self.each().items()}
        outputs = {within(teacher, name): x for teacher, answer in answers.items() for name, x in answer.items()}
        shared = set.intersection(*(set(answer) for answer in answers.values()))
        for name in shared.intersection((*MODALITIES, "logits")):
            combined = self._logits if name == "logits" else self._embeddings
            flag = _all(present(answer, name) for answer in answers.values())
            rows = combined({teacher: answer[name] for teacher, answer in answers.items()})
            outputs[name] = torch.where(flag.reshape(-1, *[1] * (rows.ndim - 1)), rows, 0.0)
            outputs[f"present/{name}"] = flag
        valid = [answer["valid/logits"] for answer in answers.values() if "valid/logits" in answer]
        if "logits" in shared and valid:
            outputs["valid/logits"] = _all(valid)
        for name in shared.intersection(SCALARS):
            outputs[name] = torch.stack([self.weights[each] * answer[name] for each, answer in answers.items()]).sum(0)
        return outputs

    def _divided(self, teacher: str, answer: Outputs) -> Outputs:
        """Return a teacher's answer at its own temperature."""
        own = self.temperatures[teacher]
        divided = {name: x / own for name, x in answer.items() if name.partition("/")[0] in ("logits", *SCALARS)}
        return answer if own == 1 else {**answer, **divided}

    def _embeddings(self, each: Mapping[str, Tensor]) -> Tensor:
        first = next(iter(each.values()))
        weights = torch.tensor([self.weights[name] for name in each], device=first.device)
        return joined(list(each.values()), weights)

    def _logits(self, each: Mapping[str, Tensor]) -> Tensor:
        shapes = {name: tuple(x.shape) for name, x in each.items()}
        if len(set(shapes.values())) > 1:
            found = ", ".join(f"{shape} of {name}" for name, shape in shapes.items())
            raise InputError(
                f"Ensemble: the teachers' logits have different shapes, {found}, so they are not of the same classes. "
                "Give teachers of the same classes, or have terms read one teacher each, such as 'a/logits'."
            )
        logits = torch.stack(list(each.values())).float()
        weights = logits.new_tensor([self.weights[name] for name in each]).reshape(-1, *[1] * (logits.ndim - 1))
        classes = 2 if logits.ndim == 5 else -1  # (K, B, C, H, W); else (K, B, C) and (K, B, T, V)
        if self.combine == "confidence":
            weights = confidence(logits, weights, self.temperature, classes)
        return mixed(logits, weights, self.temperature, classes)


def _all(flags: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(flags)).all(0)


def _normalized(weights: Mapping[str, float | int] | None, names: list[str]) -> dict[str, float]:
    """Return the weights with sum 1."""
    given = _positive("weights", weights, names)
    total = sum(given.values())
    return {name: given[name] / total for name in names}


def _positive(setting: str, numbers: Mapping[str, float | int] | None, names: list[str]) -> dict[str, float]:
    """Return a number above 0 for each teacher, 1 where none are given."""
    given = dict.fromkeys(names, 1.0) if numbers is None else dict(numbers)
    for name in (*given, *names):
        if name not in names:
            known = f"Teachers: {', '.join(names)}.{nearest(name, names)}"
            raise InputError(f"Ensemble.{setting}: no teacher is called {name!r}. {known}")
        if name not in given:
            raise InputError(f"Ensemble.{setting}: none is given for {name!r}. Give each teacher one.")
        if not 0 < given[name] < float("inf"):
            raise InputError(f"Ensemble.{setting}: {given[name]} is given for {name!r}. Give a number above 0.")
    return {name: float(given[name]) for name in names}
