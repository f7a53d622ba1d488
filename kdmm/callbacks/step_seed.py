"""Randomness without state: what dropout draws is decided by the seed, the step and the rank alone."""

from __future__ import annotations

import hashlib
from typing import Any

import lightning.pytorch as pl
import torch

__all__ = ["StepSeed"]


class StepSeed(pl.Callback):
    """Seeds PyTorch at each training batch from (seed, epoch, batch, rank), so resuming restores no generator.

    Args:
        seed: the run's.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed this step."""
        key = f"{self.seed}/{trainer.current_epoch}/{batch_idx}/{trainer.global_rank}".encode()
        torch.manual_seed(int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big"))
