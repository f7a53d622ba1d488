"""Bad samples that the DataModule was told to skip: counted and listed in the run, never lost in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

__all__ = ["SkippedSamples"]


class SkippedSamples(pl.Callback):
    """Writes each skipped sample's id, origin and reason once to ``skipped.jsonl``.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "skipped.jsonl"
        self.seen: set[str] = set()

    def _note(self, batch: Any, rank: int) -> None:
        new = [found for found in batch.get("skipped", ()) if found["id"] not in self.seen]
        if new:
            self.seen.update(found["id"] for found in new)
            path = self.path if rank == 0 else self.path.with_name(f"skipped-rank{rank}.jsonl")
            with path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(found) + "\n" for found in new)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """List what a training batch had to leave out."""
        self._note(batch, trainer.global_rank)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """List what a validation batch had to leave out."""
        self._note(batch, trainer.global_rank)
