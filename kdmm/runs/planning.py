"""What an experiment will cost: computed from one batch, and held against steps that are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdmm.analysis.tables import NOTHING, Table
from kdmm.config import Config
from kdmm.errors import InputError
from kdmm.modules import DistillationModule
from kdmm.outputs import Batch, Outputs
from kdmm.runs import build
from kdmm.runs.step_costs import KeptAnswers, StepCosts, StepTimes, measure_steps, memory_of_process
from kdmm.teachers import Teacher

__all__ = ["Plan", "plan_of"]

ADAM = 8  # bytes a trained parameter: two moments


@dataclass(frozen=True)
class Line:
    """One quantity, as planned and as measured; ``None``: not known."""

    what: str
    unit: str
    planned: float | None
    measured: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a distillation will cost.

    Args:
        lines: the quantities.
        steps: how many were measured.
        where: the device.
    """

    lines: tuple[Line, ...]
    steps: int
    where: str

    def value(self, what: str) -> Line:
        """Return the line of a quantity."""
        return next(line for line in self.lines if line.what == what)

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        rows = [(f"{each.what}, {each.unit}", _shown(each.planned), _shown(each.measured)) for each in self.lines]
        title = f"planned from one batch, and measured over {self.steps} steps on {self.where}"
        return Table(title, ("what", "planned", "measured"), tuple(rows)).to_markdown()


def plan_of(settings: Config, steps: int, allow: tuple[str, ...]) -> Plan:
    """Plan an experiment, with its teacher running and with its answers at hand.

    Nothing is written. A teacher that would answer beforehand (`Precomputed`) runs instead. What a step takes with the
    answers at hand is measured on the batches of the first measurement, whose answers were kept.

    Args:
        settings: of the experiment.
        steps: to be measured.
        allow: packages that may be named besides kdmm's own list.

    Raises:
        InputError: the experiment distils nothing, or its data give no list of their samples.
    """
    if steps < 1:
        raise InputError(f"steps: {steps} given; give at least 1.")
    before = memory_of_process("VmRSS")
    module, data = build.build(settings, allow)
    if not isinstance(module, DistillationModule):
        raise InputError(
            f"module: {type(module).__name__} has no teacher, so there is nothing to plan. Give the file of a "
            "DistillationModule."
        )
    if not module.teacher.outlasts_training:
        raise InputError("module.teacher ends with training; a plan needs one that answers any batch, such as FromRun.")
    module.online()
    data.use(module.preprocess)
    costs = StepCosts()
    online, batches = measure_steps(settings, module, data, steps, allow, [costs])
    answers = [_answer(module.teacher, batch) for batch in batches]
    module.teacher = KeptAnswers(answers)
    cached, _ = measure_steps(settings, module, data, steps, allow, [])
    if online.where == "cpu" and online.peak is not None and before is not None:
        online.peak -= before  # of the process, without what is there before the models are
    return Plan(_lines(costs, online, cached, data), steps, online.where)


def _answer(teacher: Teacher, batch: Batch) -> Outputs:
    with torch.no_grad():
        return teacher.answer(batch)


def _lines(costs: StepCosts, online: StepTimes, cached: StepTimes, data: Any) -> tuple[Line, ...]:
    student, teacher, objective = costs.student, costs.teacher, costs.objective
    without = student.training_s + objective.seconds
    memory = (
        student.parameter_bytes
        + student.trained * (4 + ADAM)
        + teacher.parameter_bytes
        + student.saved_bytes
        + objective.saved_bytes
    )
    stored = _to_store(costs, data)
    writing = None if stored is None else stored[0] / max(1, sum(costs.samples.values())) * teacher.forward_s
    saved = online.step_s - cached.step_s
    break_even = None if writing is None or saved <= 0 else writing / (saved * online.per_epoch)
    planned_break_even = None if writing is None else writing / (teacher.forward_s * online.per_epoch)
    whole = [(without + teacher.forward_s, online), (without, cached)]
    lines = [
        Line("student, parameters", "millions", student.parameters / 1e6),
        Line("student, forward and backward", "GFLOP a step", student.training_flops / 1e9),
        Line("teacher, parameters", "millions", teacher.parameters / 1e6),
        Line("teacher, forward", "GFLOP a step", teacher.forward_flops / 1e9),
        Line("loss, forward and backward", "GFLOP a step", objective.flops / 1e9),
        Line("wait for a batch", "ms", None, 1e3 * online.data_s),
    ]
    for name, (planned, found) in zip(("teacher running", "answers at hand"), whole, strict=True):
        lines.append(Line(f"step, {name}", "ms", 1e3 * planned, 1e3 * found.step_s))
        each = found.step_s + found.data_s
        lines.append(Line(f"epoch, {name}", "s", (planned + found.data_s) * found.per_epoch, each * found.per_epoch))
    lines += [
        Line("answers to store", "MB in float32", None if stored is None else stored[1] * 4 / 1e6),
        Line("answers to store", "MB in float16", None if stored is None else stored[1] * 2 / 1e6),
        Line("storing them", "s", writing),
        Line("storing pays after", "epochs", planned_break_even, break_even),
        Line("peak memory, teacher running", "MB", memory / 1e6, None if online.peak is None else online.peak / 1e6),
    ]
    return tuple(lines)


def _to_store(costs: StepCosts, data: Any) -> tuple[int, int] | None:
    """Return how many answers a cache would hold, and how many numbers; None where they have no end."""
    if data.views is None:
        return None
    try:
        samples = [sample for feed in data.mixture.feeds("train").values() for sample in feed.samples]
    except InputError:  # a stream gives no list of its samples
        return None
    rows = {
        modality: len(data.texts(["train"]))
        if modality == "text"
        else data.views * sum(sample.has(modality) for sample in samples)
        for modality in costs.samples
    }
    most = max(rows.values(), default=0)  # what is called after no modality is of the one medium
    numbers = sum(
        rows.get(name, most) * each[0].numel() for name, each in costs.answers.items() if _is_stored(name, each)
    )
    return sum(rows.values()), numbers


def _is_stored(name: str, value: Tensor) -> bool:
    return "/" not in name and value.ndim >= 2 and len(value) > 0


def _shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
