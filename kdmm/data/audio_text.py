"""The DataModule of audio-text training."""

from __future__ import annotations

from typing import ClassVar

from kdmm.data.multimodal import MultimodalDataModule

__all__ = ["AudioTextDataModule"]


class AudioTextDataModule(MultimodalDataModule):
    """Batches of sounds and captions.

    Everything is as in :class:`kdmm.data.MultimodalDataModule`; a list in ``augment`` is for the sounds.
    """

    medium: ClassVar[str | None] = "audio"
    modalities: ClassVar[tuple[str, ...]] = ("audio", "text")
