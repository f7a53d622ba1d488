"""What an experiment will cost: computed from one batch, and held against steps that are measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from kdmm.analysis.cost import ModelCost, ObjectiveCost
from kdmm.analysis.tables import NOTHING, Table
from kdmm.callbacks import Mix, StepSeed
from kdmm.config import Config
from kdmm.errors import InputError
from kdmm.modules import DistillationModule
from kdmm.outputs import MODALITIES, Batch, Outputs
from kdmm.runs import build
from kdmm.teachers import Ensemble, Teacher
from kdmm.teachers.teacher import Running

__all__ = ["Plan", "plan_of"]

WARM_UP = 3  # steps that are not measured: the first ones allocate memory and choose kernels
KEPT = ("accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val")
LONG = 1_000_000  # steps: the measurement ends it, and no schedule is over before
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
    before = _status("VmRSS")
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
    costs = _Costs()
    online, batches = _measured(settings, module, data, steps, allow, [costs])
    answers = [_answer(module.teacher, batch) for batch in batches]
    module.teacher = _Kept(answers)
    cached, _ = _measured(settings, module, data, steps, allow, [])
    if online.where == "cpu" and online.peak is not None and before is not None:
        online.peak -= before  # of the process, without what is there before the models are
    return Plan(_lines(costs, online, cached, data), steps, online.where)


class _Steps(pl.Callback):
    """Measures steps, and the wait for each batch; keeps the batches."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.waited: list[float] = []
        self.took: list[float] = []
        self.batches: list[Batch] = []
        self.where = ""
        self.per_epoch = 0
        self.peak: float | None = None
        self._last = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.where = pl_module.device.type
        self.per_epoch = int(trainer.num_training_batches)
        self._last = time.perf_counter()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == WARM_UP:
            _forget_peak(pl_module.device)
        self.batches.append(batch)
        now = time.perf_counter()
        self.waited.append(now - self._last)
        self._last = now

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.device.type != "cpu":
            torch.accelerator.synchronize(pl_module.device)
        now = time.perf_counter()
        self.took.append(now - self._last)
        self._last = now
        trainer.should_stop = len(self.took) >= self.count

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.peak = _peak(pl_module.device)

    @property
    def step_s(self) -> float:
        """Seconds of a step without the wait."""
        return statistics.median(self.took[WARM_UP:])

    @property
    def data_s(self) -> float:
        """Seconds of the wait for a batch."""
        return statistics.median(self.waited[WARM_UP:])


class _Costs(pl.Callback):
    """Counts and times the parts of a step on the first batch."""

    student: ModelCost
    teacher: ModelCost
    objective: ObjectiveCost
    answers: Outputs
    samples: Mapping[str, int]
    data_s: float

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if hasattr(self, "student"):
            return
        module: DistillationModule = pl_module
        training = module.training
        module.eval()
        with torch.no_grad():
            said = module.student(batch["student"])
            self.answers = module.teacher.answer(batch)
        self.student = ModelCost.of_student(module.student, batch["student"])
        self.teacher = ModelCost.of_teacher(_models(module.teacher), lambda: module.teacher.answer(batch))
        self.objective = ObjectiveCost.of(module.objective, said, self.answers, batch)
        part = next(iter(batch[name] for name in module.teacher.preprocesses))
        self.samples = {
            modality: int(part[f"present/{modality}"].sum()) for modality in MODALITIES if modality in part
        }
        module.train(training)
        module.zero_grad()


class _Kept(Teacher):
    """Says what a running teacher said of the same batches, in their order."""

    def __init__(self, answers: Sequence[Outputs]) -> None:
        super().__init__()
        self._answers = (answers,)
        self._next = 0

    @property
    def preprocesses(self) -> dict[str, Any]:
        """Nothing is read."""
        return {}

    def answer(self, batch: Batch) -> Outputs:
        """Return the next answer."""
        answers = self._answers[0]
        self._next += 1
        return answers[(self._next - 1) % len(answers)]

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Return the next answer."""
        return self.answer(batch)

    def online(self) -> _Kept:
        """Return itself."""
        return self


def _measured(
    settings: Config,
    module: DistillationModule,
    data: Any,
    steps: int,
    allow: tuple[str, ...],
    callbacks: list[pl.Callback],
) -> tuple[_Steps, list[Batch]]:
    """Train for some steps from the beginning of the data, and measure them."""
    timer = _Steps(WARM_UP + steps)
    own = build.callbacks_for(settings, Path(), allow)
    kept = [each for each in own if isinstance(each, Mix)]  # what changes the batch
    with TemporaryDirectory() as nowhere:
        quick = {
            name: value
            for name, value in settings.trainer.items()
            if name in KEPT
        }
        trainer = pl.Trainer(
            **quick,
            devices=1,
            max_steps=LONG,
            max_epochs=-1,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=nowhere,
            callbacks=[StepSeed(settings.seed), *kept, *callbacks, timer],
        )
        trainer.fit(module, datamodule=data)
    return timer, timer.batches


def _answer(teacher: Teacher, batch: Batch) -> Outputs:
    with torch.no_grad():
        return teacher.answer(batch)


def _models(teacher: Teacher) -> list[nn.Module]:
    """Return the models that run in a teacher."""
    if isinstance(teacher, Ensemble):
        return [model for each in teacher.each().values() for model in _models(each)]
    return [teacher.model] if isinstance(teacher, Running) else [teacher]


def _lines(costs: _Costs, online: _Steps, cached: _Steps, data: Any) -> tuple[Line, ...]:
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


def _to_store(costs: _Costs, data: Any) -> tuple[int, int] | None:
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


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():  # Linux: VmHWM begins anew
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak(device: torch.device) -> float | None:
    """Return the peak memory since `_forget_peak`, bytes: of the device, or else of the whole process."""
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else _status("VmHWM")


def _status(entry: str) -> float | None:
    """Return an entry of Linux's account of this process's memory, bytes; None elsewhere."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    line = next(each for each in path.read_text(encoding="ascii").splitlines() if each.startswith(f"{entry}:"))
    return float(line.split()[1]) * 1024


def _shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
