"""The DataModule of video-text training."""

from __future__ import annotations

from typing import ClassVar

from kdmm.data.multimodal import MultimodalDataModule

__all__ = ["VideoTextDataModule"]


class VideoTextDataModule(MultimodalDataModule):
    """Batches of clips and captions.

    Everything is as in :class:`kdmm.data.MultimodalDataModule`; a list in ``augment`` is for the clips: transforms of a
    list of frames, such as :class:`kdmm.models.RandomFrames` or torchvision's, which do the same to all of them.
    """

    medium: ClassVar[str | None] = "video"
    modalities: ClassVar[tuple[str, ...]] = ("video", "text")
