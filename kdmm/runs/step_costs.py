"""Some steps of training, measured, and what their parts cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
import torch

from kdmm.analysis.cost import ModelCost, ObjectiveCost
from kdmm.callbacks import Compiled, GradientCheckpointing, Mix, StepSeed
from kdmm.config import Config
from kdmm.modules import DistillationModule, TrainingModule
from kdmm.outputs import MODALITIES, Batch, Outputs
from kdmm.runs import build
from kdmm.teachers import Teacher

__all__ = ["WARM_UP", "KeptAnswers", "StepCosts", "StepTimes", "measure_steps", "memory_of_process"]

WARM_UP = 3  # steps that are not measured: the first ones allocate memory and choose kernels
KEPT = ("accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val")
KEPT_CALLBACKS = (Mix, Compiled, GradientCheckpointing)  # what changes the batch, or how a step is computed
LONG = 1_000_000  # steps: the measurement ends it, and no schedule is over before


class StepTimes(pl.Callback):
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
        """Begin to wait for the first batch."""
        self.where = pl_module.device.type
        self.per_epoch = int(trainer.num_training_batches)
        self._last = time.perf_counter()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note how long the batch was waited for."""
        if trainer.global_step == WARM_UP:
            _forget_peak(pl_module.device)
        self.batches.append(batch)
        now = time.perf_counter()
        self.waited.append(now - self._last)
        self._last = now

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note how long the step took, and end the run after enough of them."""
        if pl_module.device.type != "cpu":
            torch.accelerator.synchronize(pl_module.device)
        now = time.perf_counter()
        self.took.append(now - self._last)
        self._last = now
        trainer.should_stop = len(self.took) >= self.count

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Note the peak of memory."""
        self.peak = _peak(pl_module.device)

    @property
    def step_s(self) -> float:
        """Seconds of a step without the wait."""
        return statistics.median(self.took[WARM_UP:])

    @property
    def data_s(self) -> float:
        """Seconds of the wait for a batch."""
        return statistics.median(self.waited[WARM_UP:])


class StepCosts(pl.Callback):
    """Counts and times the parts of a step on the first batch."""

    student: ModelCost
    teacher: ModelCost
    objective: ObjectiveCost
    answers: Outputs
    samples: Mapping[str, int]
    data_s: float

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Count and time the parts, on the first batch."""
        if hasattr(self, "student"):
            return
        module: DistillationModule = pl_module
        training = module.training
        module.eval()
        with torch.compiler.set_stance("force_eager"):  # operations are counted as they are written
            with torch.no_grad():
                said = module.student(batch["student"])
                self.answers = module.teacher.answer(batch)
            self.student = ModelCost.of_student(module.student, batch["student"])
            self.teacher = ModelCost.of_teacher(module.teacher.models, lambda: module.teacher.answer(batch))
            self.objective = ObjectiveCost.of(module.objective, said, self.answers, batch)
        part = next(iter(batch[name] for name in module.teacher.preprocesses))
        self.samples = {modality: int(part[f"present/{modality}"].sum()) for modality in MODALITIES if modality in part}
        module.train(training)
        module.zero_grad()


class KeptAnswers(Teacher):
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

    def online(self) -> KeptAnswers:
        """Return itself."""
        return self


def measure_steps(
    settings: Config,
    module: TrainingModule,
    data: Any,
    steps: int,
    allow: tuple[str, ...],
    callbacks: list[pl.Callback],
) -> tuple[StepTimes, list[Batch]]:
    """Train for some steps from the beginning of the data, and measure them."""
    timer = StepTimes(WARM_UP + steps)
    own = build.callbacks_for(settings, Path(), allow)
    kept = [each for each in own if isinstance(each, KEPT_CALLBACKS)]
    with TemporaryDirectory() as nowhere:
        quick = {name: value for name, value in settings.trainer.items() if name in KEPT}
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


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():  # Linux: VmHWM begins anew
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak(device: torch.device) -> float | None:
    """Return the peak memory since `_forget_peak`, bytes: of the device, or else of the whole process."""
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else memory_of_process("VmHWM")


def memory_of_process(entry: str) -> float | None:
    """Return an entry of Linux's account of this process's memory, bytes; None elsewhere."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    line = next(each for each in path.read_text(encoding="ascii").splitlines() if each.startswith(f"{entry}:"))
    return float(line.split()[1]) * 1024
