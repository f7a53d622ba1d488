"""Some steps of training, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
import torch

from kdmm.callbacks import Compiled, GradientCheckpointing, Mix, StepSeed
from kdmm.config import Config
from kdmm.modules import TrainingModule
from kdmm.outputs import Batch
from kdmm.runs import build
from kdmm.runs.step_memory import batches_a_step

__all__ = ["WARM_UP", "Aside", "StepTimes", "measure_steps"]

WARM_UP = 5  # steps that are not timed: they allocate memory and choose kernels, and what they take is counted
STEPPED = 2  # of these the last ones, whose optimizer is timed
KEPT = ("accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val", "limit_train_batches")
KEPT_CALLBACKS = (Mix, Compiled, GradientCheckpointing)  # what changes the batch, or how a step is computed
LONG = 1_000_000  # steps: the measurement ends it, and no schedule is over before

Aside = Callable[[Any, Any, Batch], None]
"""Is called with the Trainer, the module and the batch before each batch's step; its time does not count."""


class StepTimes(pl.Callback):
    """Measures steps, and the wait for their batches. A step has as many batches as accumulate gradients for it.

    Args:
        steps: to be measured, after `WARM_UP`.
        aside: what is done before each batch.
    """

    def __init__(self, steps: int, aside: Aside | None = None) -> None:
        self.steps = steps
        self.aside = aside
        self.waited: list[float] = []
        self.took: list[float] = []
        self.stepped: list[float] = []
        self.ids: list[list[str]] = []
        self.where = ""
        self.batches_a_step = 1
        self.steps_an_epoch = 0.0
        self._last = 0.0
        self._stepping: float | None = None

    @property
    def warm_up(self) -> int:
        """Batches that are not measured."""
        return WARM_UP * self.batches_a_step

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to wait for the first batch."""
        self.where = pl_module.device.type
        self.batches_a_step = batches_a_step(trainer)
        self.steps_an_epoch = int(trainer.num_training_batches) / self.batches_a_step
        self._last = time.perf_counter()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note how long the batch was waited for."""
        self.waited.append(time.perf_counter() - self._last)
        self.ids.append(list(batch["id"]))
        if self.aside is not None:
            self.aside(trainer, pl_module, batch)
        self._stepping = None
        self._last = time.perf_counter()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Note when the gradients are there."""
        if self._stepping is None:  # an optimizer may compute them twice
            self._stepping = _now(pl_module.device)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note how long the step took, and end the run after enough of them."""
        now = _now(pl_module.device)
        self.took.append(now - self._last)
        if self._stepping is not None:
            self.stepped.append(now - self._stepping)
        trainer.should_stop = len(self.took) >= self.warm_up + self.steps * self.batches_a_step
        self._last = now

    @property
    def step_s(self) -> float:
        """Seconds of a step without the wait."""
        return self._median(self.took)

    @property
    def data_s(self) -> float:
        """Seconds of the wait for a step's batches."""
        return self._median(self.waited)

    @property
    def epoch_s(self) -> float:
        """Seconds of an epoch."""
        return (self.step_s + self.data_s) * self.steps_an_epoch

    @property
    def optimizer_s(self) -> float:
        """Seconds from the gradients to the end of a step, of the last ones that are not measured."""
        return statistics.median(self.stepped[WARM_UP - STEPPED : WARM_UP] or self.stepped)

    def _median(self, times: Sequence[float]) -> float:
        size = self.batches_a_step
        return statistics.median(sum(times[start : start + size]) for start in range(self.warm_up, len(times), size))


def measure_steps(
    settings: Config,
    module: TrainingModule,
    data: Any,
    steps: int,
    allow: tuple[str, ...],
    callbacks: Sequence[pl.Callback] = (),
    aside: Aside | None = None,
) -> StepTimes:
    """Train for some steps from the beginning of the data, and measure them.

    Args:
        settings: of the experiment.
        module: of the experiment.
        data: of the experiment.
        steps: how many.
        allow: packages that may be named besides kdmm's own list.
        callbacks: besides those that are measured with.
        aside: as for `StepTimes`.
    """
    timer = StepTimes(steps, aside)
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
    return timer


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
