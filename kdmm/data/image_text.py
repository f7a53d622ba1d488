"""The DataModule of image-text training."""

from __future__ import annotations

from typing import ClassVar

from kdmm.data.multimodal import MultimodalDataModule

__all__ = ["ImageTextDataModule"]


class ImageTextDataModule(MultimodalDataModule):
    """Batches of pictures and captions.

    Everything is as in :class:`kdmm.data.MultimodalDataModule`; a list in ``augment`` is for the pictures.
    """

    medium: ClassVar[str | None] = "image"
    modalities: ClassVar[tuple[str, ...]] = ("image", "text")
