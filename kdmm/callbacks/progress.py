"""What a person sees while a run goes on: a bar on a terminal, a line an epoch in a pipe."""

from __future__ import annotations

import sys
import time
from typing import TextIO

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.utilities import rank_zero_only

__all__ = ["PlainProgress", "progress"]


class PlainProgress(pl.Callback):
    """Prints one line an epoch: epoch, step, loss, recall if measured, seconds.

    Args:
        stream: where to; standard output if ``None``.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self._began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        wanted = ("train/loss", "val/loss", "val/recall@5")
        found = [
            f"{name} {float(trainer.callback_metrics[name]):.4g}" for name in wanted if name in trainer.callback_metrics
        ]
        print(
            f"epoch {trainer.current_epoch + 1}" + (f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""),
            f"step {trainer.global_step}/{int(trainer.estimated_stepping_batches)}",
            *found,
            f"{time.monotonic() - self._began:.0f} s",
            sep="  ",
            file=self.stream or sys.stdout,
            flush=True,
        )


def progress() -> pl.Callback:
    """Return the progress display that fits standard output."""
    return RichProgressBar(leave=False) if sys.stdout.isatty() else PlainProgress()
