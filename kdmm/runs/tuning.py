"""How many workers and threads train fastest, by measurement."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kdmm import config as configuration
from kdmm.analysis.tables import Table
from kdmm.config import Config
from kdmm.errors import InputError
from kdmm.runs import build
from kdmm.runs.quiet import quiet
from kdmm.runs.step_times import measure_steps

__all__ = ["Trial", "Tuning", "tune"]


@dataclass(frozen=True)
class Trial:
    """One setting, measured.

    Args:
        workers: processes that read data.
        threads: of the training process.
        samples_per_s: trained, the wait for batches counted.
    """

    workers: int
    threads: int
    samples_per_s: float


@dataclass(frozen=True)
class Tuning:
    """What was measured.

    Args:
        trials: the settings that were tried.
        steps: of each.
        where: the device.
    """

    trials: tuple[Trial, ...]
    steps: int
    where: str

    @property
    def best(self) -> Trial:
        """The fastest."""
        return max(self.trials, key=lambda trial: trial.samples_per_s)

    def to_markdown(self) -> str:
        """Return the table in Markdown, and how to set what was fastest."""
        rows = [(str(each.workers), str(each.threads), f"{each.samples_per_s:,.1f}") for each in self.trials]
        table = Table(f"{self.steps} steps each on {self.where}", ("workers", "threads", "samples/s"), tuple(rows))
        setting = f"OMP_NUM_THREADS={self.best.threads} kdmm fit ... data.workers={self.best.workers}"
        return f"{table.to_markdown()}\n\nfastest: {setting}"


def tune(config: str | Path, overrides: Sequence[str] = (), *, steps: int = 20, allow: Sequence[str] = ()) -> Tuning:
    """Measure how fast an experiment trains with each number of workers, and the threads that they leave on a CPU.

    No run is written. What is answered before training (`Precomputed`, and the ``features`` of TeacherModule) is
    answered before each measurement; with a ``store`` it is kept there, and answered once.

    Args:
        config: its YAML file.
        overrides: ``key=value`` strings that change single settings.
        steps: to be measured of each.
        allow: packages of your own that the configuration may build from.

    Raises:
        InputError: the experiment is wrong, or no step is asked for.
    """
    if steps < 1:
        raise InputError(f"steps: {steps} given; give at least 1.")
    allowed = tuple(allow)
    settings = configuration.load(config, overrides, allowed)
    with quiet():
        return _measured(settings, steps, allowed)


def _measured(settings: Config, steps: int, allow: tuple[str, ...]) -> Tuning:
    threads_before, trials, where = torch.get_num_threads(), [], ""
    try:
        for workers in _choices(cores()):
            changed = replace(settings, data={**settings.data, "workers": workers})
            module, data = build.build(changed, allow)
            on_cpu = not torch.accelerator.is_available() or settings.trainer.get("accelerator") == "cpu"
            torch.set_num_threads(max(1, cores() - workers) if on_cpu else threads_before)
            times = measure_steps(changed, module, data, steps, allow)
            samples = sum(map(len, times.ids[times.warm_up :]))
            seconds = sum(times.took[times.warm_up :]) + sum(times.waited[times.warm_up :])
            trials.append(Trial(workers, torch.get_num_threads(), samples / seconds))
            where = times.where
    finally:
        torch.set_num_threads(threads_before)
    return Tuning(tuple(trials), steps, where)


def cores() -> int:
    """Return how many of the machine's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _choices(most: int) -> Iterator[int]:
    """Yield 0, 1, 2, 4 and so on, up to the number of cores."""
    yield 0
    workers = 1
    while workers <= most:
        yield workers
        workers *= 2
