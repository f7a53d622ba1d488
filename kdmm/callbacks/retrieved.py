"""A dashboard table of what the model finds: captions and the pictures it retrieves for them."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import wandb

from kdmm.analysis.retrieved import retrieve_examples
from kdmm.callbacks.wandb_logger import Wandb

__all__ = ["RetrievedExamples"]


class RetrievedExamples(pl.Callback):
    """Logs a wandb table when training ends: one row a caption of the validation split, its ``k`` nearest pictures.

    Args:
        captions: rows.
        k: pictures a row.
        gallery: validation pictures to search.
    """

    def __init__(self, captions: int = 16, k: int = 5, gallery: int = 500) -> None:
        self.captions = captions
        self.k = k
        self.gallery = gallery

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the table."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, Wandb)]
        if not loggers or not trainer.is_global_zero:
            return
        rows = retrieve_examples(
            pl_module.model, trainer.datamodule.examples("val", self.gallery), self.captions, self.k
        )
        table = wandb.Table(columns=["caption", "rank of its picture", *(f"picture {n + 1}" for n in range(self.k))])
        for row in rows:
            table.add_data(row.caption, row.rank, *(wandb.Image(image, caption=name) for image, name in row.found))
        for logger in loggers:
            logger.experiment.log({"val/retrieved": table})
