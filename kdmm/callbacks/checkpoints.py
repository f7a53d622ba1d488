"""Keeping the last state and the best one, and stopping when asked without losing a step."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from kdmm.errors import InputError, InterruptedRunError, nearest

__all__ = ["Checkpoints"]

MOST_OVERHEAD = 0.05  # of the time since training began or the state was last written, spent on writing it


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` every so many steps and at epochs' ends, and ``best.ckpt`` by a validation metric.

    At the end of an epoch that took hardly longer than writing the state does, nothing is written: all these writes
    together take a twentieth of the time at most. A resumed run repeats the steps since the last write.

    SIGINT and SIGTERM end the run after the step in hand, with its state saved; a second signal ends it at once.
    Each file is replaced atomically.

    Args:
        every_n_steps: optimizer steps between two writes of ``last.ckpt`` inside an epoch.
        monitor: the metric that chooses the best state, such as ``val/recall@5``; ``None`` takes the last. NaN is
            worse than any number.
        mode: whether a better value is larger or smaller.
        folder: where; a run sets its own ``checkpoints/``.
    """

    def __init__(
        self,
        every_n_steps: int = 500,
        monitor: str | None = None,
        mode: Literal["max", "min"] = "max",
        folder: str | None = None,
    ) -> None:
        super().__init__()
        self.every_n_steps = every_n_steps
        self.monitor = monitor
        self.mode = mode
        self.folder = folder
        self.best: float | None = None
        self._asked: signal.Signals | None = None
        self._stopping = False
        self._written = -math.inf  # when the state was last written, on the monotonic clock
        self._writing_s = 0.0  # how long that took
        self._handlers: dict[int, Any] = {}

    @property
    def last_path(self) -> Path:
        """The last state."""
        return Path(self.folder or ".") / "last.ckpt"

    @property
    def best_path(self) -> Path:
        """The best state by ``monitor``."""
        return Path(self.folder or ".") / "best.ckpt"

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the best value so far."""
        self.best = state_dict["best"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals; Lightning has set its own handlers just before."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            raise InterruptedRunError(
                "The run was stopped at once. Continue it from its last saved state with --resume."
            )
        self._asked = signal.Signals(number)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after every n-th step, or when asked to stop; after the last batch of an epoch wait for its end."""
        if batch_idx + 1 >= trainer.num_training_batches or self._accumulating(trainer, batch_idx):
            return
        asked = trainer.strategy.reduce_boolean_decision(self._asked is not None, all=False)
        if asked or trainer.global_step % self.every_n_steps == 0:
            self._save_last(trainer)
        self._stopping = asked

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop if the step before saved the state to do so: only now are its metrics logged."""
        if self._stopping:
            self._stop(trainer)

    @staticmethod
    def _accumulating(trainer: pl.Trainer, batch_idx: int) -> bool:
        return (batch_idx + 1) % trainer.accumulate_grad_batches != 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the state if it is the best yet."""
        if (
            self.monitor is None
            or trainer.sanity_checking
            or not trainer.fit_loop.epoch_loop.batch_progress.total.ready
        ):
            return
        if self.monitor not in trainer.callback_metrics:
            raise InputError(
                f"callbacks: Checkpoints.monitor {self.monitor!r} is not logged."
                + nearest(self.monitor, trainer.callback_metrics)
            )
        value = float(trainer.callback_metrics[self.monitor])
        best = math.nan if self.best is None else self.best
        if math.isnan(best) or (value > best if self.mode == "max" else value < best):
            self.best = value
            self._save(trainer, self.best_path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the state if it is worth its time, and stop if asked to."""
        ended = trainer.should_stop or trainer.global_step >= trainer.estimated_stepping_batches
        due = MOST_OVERHEAD * (time.monotonic() - self._written) > self._writing_s
        asked, due = (
            trainer.strategy.reduce_boolean_decision(here, all=False) for here in (self._asked is not None, due)
        )
        if asked or due or ended:
            self._save_last(trainer)
        if asked and not ended:
            self._stop(trainer)

    def _save_last(self, trainer: pl.Trainer) -> None:
        began = time.monotonic()
        self._save(trainer, self.last_path)
        self._written = time.monotonic()
        self._writing_s = self._written - began

    @staticmethod
    def _save(trainer: pl.Trainer, path: Path) -> None:
        """Write a state whole or not at all.

        Lightning writes to the system's temporary folder and moves the file. Where that is another disk, the move is a
        copy, of which a kill or a full disk would leave a part.
        """
        partial = path.with_name(path.name + ".partial")
        try:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                partial.replace(path)
        finally:
            if trainer.is_global_zero:
                partial.unlink(missing_ok=True)

    def _stop(self, trainer: pl.Trainer) -> None:
        raise InterruptedRunError(
            f"The run was stopped after step {trainer.global_step}; its state is saved in {self.last_path}. "
            "Continue it with the same command and --resume."
        )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._release()

    def _release(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
