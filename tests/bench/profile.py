"""Where a training step's time goes: its parts as ranges of ``torch.profiler``, with the teacher running and stored.

The experiment is that of ``step``. ``data`` is the wait for a batch, ``teacher`` its answer or the look-up of it,
``loss`` the terms and their weighting, ``optimizer`` the update alone, and ``other`` what lies between: Lightning's
loop and hooks, setting gradients to zero, and the checks of the loss. On a GPU each range waits for it at both ends, so
that what overlaps otherwise is seen one after the other. The steps are timed once more without the profiler, which
records each operation and so slows small ones.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

import kdmm
from kdmm import config, targets
from kdmm.models import save_model
from kdmm.runs.build import build
from kdmm.runs.quiet import quiet
from kdmm.runs.step_times import WARM_UP, measure_steps
from tests.bench.device import CUDA, now
from tests.bench.step import BATCH, variants
from tests.bench.trainer import TEACHER

STEPS, OPERATIONS = 12, 6
PARTS = ("data", "student", "teacher", "loss", "backward", "optimizer")
STEP = "step"
SHOWN = ("teacher running", "teacher stored")


class Ranges(pl.Callback):
    """Profiles ``steps`` steps after `WARM_UP`, each from the end of the one before."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.seen = 0
        self.open: dict[str, Any] = {}
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if CUDA else [])]
        self.profile = profile(activities=activities)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Let each part be a range."""
        module = pl_module
        module.student.forward = self._ranged("student", module.student.forward)
        module.teacher.answer = self._ranged("teacher", module.teacher.answer)
        module.objective.forward = self._ranged("loss", module.objective.forward)
        module.backward = self._ranged("backward", module.backward)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Note where an optimizer's update ends."""
        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(lambda *_: self._end("optimizer"))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Begin the update: the gradients are there."""
        self._begin("optimizer")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """End the wait for a batch."""
        self._end("data")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Begin the next step."""
        self._end(STEP)
        self.seen += 1
        if self.seen == WARM_UP:
            self.profile.start()
        if self.seen == WARM_UP + self.steps:
            now()
            self.profile.stop()
        self._begin(STEP)
        self._begin("data")

    def seconds(self) -> dict[str, float]:
        """Return the seconds of a step, and of each part of it, ``other`` included."""
        found = {event.key: event.cpu_time_total / 1e6 / self.steps for event in self._events()}
        parts = {part: found.get(part, 0.0) for part in PARTS}
        return {STEP: found[STEP], **parts, "other": found[STEP] - sum(parts.values())}

    def operations(self) -> list[tuple[str, float]]:
        """Return the operations that take most of the time by themselves, and their parts of all operations' time."""
        found = [event for event in self._events() if event.key not in (*PARTS, STEP)]
        times = {event.key: event.self_device_time_total if CUDA else event.self_cpu_time_total for event in found}
        most = sorted(times, key=lambda name: -times[name])[:OPERATIONS]
        return [(name, times[name] / sum(times.values())) for name in most]

    def _events(self) -> list[Any]:
        """Return what the CPU did by name, kernels that it started on a GPU included; these stand there once more."""
        return [event for event in self.profile.key_averages() if event.device_type == DeviceType.CPU]

    def _recording(self) -> bool:
        return WARM_UP <= self.seen < WARM_UP + self.steps

    def _begin(self, name: str) -> None:
        if self._recording():
            now()
            self.open[name] = record_function(name)
            self.open[name].__enter__()

    def _end(self, name: str) -> None:
        if name in self.open:
            now()
            self.open.pop(name).__exit__(None, None, None)

    def _ranged(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def ranged(*arguments: Any, **settings: Any) -> Any:
            self._begin(name)
            try:
                return call(*arguments, **settings)
            finally:
                self._end(name)

        return ranged


def profiled(path: Path, steps: int) -> tuple[Ranges, float]:
    """Return the ranges of some steps, and the seconds of a step without the profiler."""
    settings = config.load(path, [], ())
    ranges = Ranges(steps)
    with quiet():
        plain = measure_steps(settings, *build(settings, ()), steps, ())
        measure_steps(settings, *build(settings, ()), steps, (), [ranges])
    return ranges, (sum(plain.took[plain.warm_up :]) + sum(plain.waited[plain.warm_up :])) / steps


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder / "teacher.safetensors", targets.build(TEACHER), TEACHER)
        trees, paths = variants(folder), {}
        for variant in SHOWN:
            paths[variant] = folder / f"{variant}.yaml"
            paths[variant].write_text(yaml.safe_dump(trees[variant][0]), encoding="utf-8")
        with quiet():
            kdmm.cache(paths["teacher running"], store=folder / "store", dtype="float32")
        columns = (*PARTS, "other")
        print(
            f"{'ms a step of ' + str(BATCH):24}" + "".join(f"{each:>11}" for each in (*columns, "step", "unprofiled"))
        )
        for variant, path in paths.items():
            ranges, plain = profiled(path, STEPS)
            found = ranges.seconds()
            print(
                f"{variant:24}"
                + "".join(f"{1000 * each:11.1f}" for each in (*map(found.get, columns), found[STEP], plain))
            )
            print(f"{'':24}" + "".join(f"{found[each] / found[STEP]:11.0%}" for each in columns))
            print("  by itself: " + ", ".join(f"{name} {share:.0%}" for name, share in ranges.operations()))
