"""A dashboard table of what the model finds: captions and the pictures or sounds it retrieves for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import wandb
from PIL.Image import Image

from kdmm.analysis.retrieved import retrieve_examples
from kdmm.callbacks.wandb_logger import Wandb
from kdmm.models.audio import AudioClip

__all__ = ["RetrievedExamples"]


def _picture(image: Image, caption: str) -> Any:
    return wandb.Image(image, caption=caption)


def _sound(clip: AudioClip, caption: str) -> Any:
    return wandb.Audio(clip.samples.T.numpy(), sample_rate=clip.rate, caption=caption)


def _clip(clip: Any, name: str) -> wandb.Image:
    return _picture(clip.frames[len(clip.frames) // 2], name)


SHOWN: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "image": ("picture", _picture),
    "audio": ("sound", _sound),
    "video": ("clip", _clip),
}
"""What one of a medium is called, and what a dashboard shows it by."""


class RetrievedExamples(pl.Callback):
    """Logs a wandb table when training ends: validation captions, and the nearest pictures of each.

    Of a model that reads no pictures they are sounds.

    Args:
        captions: rows.
        k: pictures or sounds a row.
        gallery: validation samples to search.
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
        media = [name for name in pl_module.model.preprocess.media if pl_module.model.preprocess.text is not None]
        if not media:  # a model that embeds no captions retrieves nothing
            return
        modality = media[0]
        examples = trainer.datamodule.examples("val", self.gallery, modality)
        rows = retrieve_examples(pl_module.model, examples, self.captions, self.k, modality)
        noun, shown = SHOWN[modality]
        table = wandb.Table(columns=["caption", f"rank of its {noun}", *(f"{noun} {n + 1}" for n in range(self.k))])
        for row in rows:
            table.add_data(row.caption, row.rank, *(shown(medium, name) for medium, name in row.found))
        for logger in loggers:
            logger.experiment.log({"val/retrieved": table})
