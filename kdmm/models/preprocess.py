"""What a model needs done to an image or a caption before it can read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL.Image import Image
from torch import Tensor

from kdmm.models.audio.clip import AudioClip
from kdmm.models.video import VideoPreprocess
from kdmm.outputs import MODALITIES

__all__ = [
    "AudioPreprocess",
    "ImagePreprocess",
    "ImageTransform",
    "Preprocess",
    "TextPreprocess",
]

ImagePreprocess = Callable[[Image], Tensor]
"""One RGB picture to (3, H, W) float32. Compared with ``==`` and hashed: two models' equal preprocessing runs once."""

TextPreprocess = Callable[[list[str]], Tensor]
"""N captions to (N, T) int64 token ids, padded. Compared with ``==`` and hashed."""


AudioPreprocess = Callable[[AudioClip], Tensor]
"""One sound to a waveform (T,) float32, T the same for all. Compared with ``==`` and hashed."""


@dataclass(frozen=True)
class Preprocess:
    """A model's own preprocessing, by modality. ``None``: the model does not read that modality from the batch.

    The callables are picklable and hashable, and equal when they compute the same.
    """

    image: ImagePreprocess | None = None
    text: TextPreprocess | None = None
    audio: AudioPreprocess | None = None
    video: VideoPreprocess | None = None
    source: TextPreprocess | None = None
    marks: bool = False
    """Whether the model also reads what is marked in pictures, such as a detector that computes its own losses."""

    @property
    def media(self) -> dict[str, Callable[[Any], Tensor]]:
        """What is done to one sample at a time, by modality: all but texts."""
        read = {"image": self.image, "audio": self.audio, "video": self.video}
        return {modality: each for modality, each in read.items() if each is not None}

    @property
    def written(self) -> dict[str, TextPreprocess]:
        """What is done to a batch's texts, by modality."""
        read = {"text": self.text, "source": self.source}
        return {modality: each for modality, each in read.items() if each is not None}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that are read."""
        return tuple(modality for modality in MODALITIES if getattr(self, modality) is not None)

    def only(self, *modalities: str) -> Preprocess:
        """Return the part for these modalities."""
        kept = {modality: getattr(self, modality) for modality in MODALITIES if modality in modalities}
        return Preprocess(**kept, marks=self.marks and "image" in modalities)

    def without(self, *modalities: str) -> Preprocess:
        """Return the part for all other modalities."""
        return self.only(*(modality for modality in MODALITIES if modality not in modalities))


@dataclass(frozen=True)
class ImageTransform:
    """Resize to a square, scale to [0, 1] and normalize; open_clip's transform for evaluation.

    Args:
        size: side of the square, pixels.
        mean: per channel, of values in [0, 1].
        std: per channel.
        interpolation: of the resize.
        resize_mode: ``shortest`` crops the centre, ``longest`` pads, ``squash`` changes the aspect ratio.
    """

    size: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"

    def __call__(self, image: Image) -> Tensor:
        """Return the picture as (3, size, size) float32."""
        transformed: Tensor = _image_transform(self)(image)
        return transformed


@lru_cache(maxsize=16)
def _image_transform(settings: ImageTransform) -> Any:
    cfg = PreprocessCfg(
        size=settings.size,
        mean=settings.mean,
        std=settings.std,
        interpolation=settings.interpolation,
        resize_mode=settings.resize_mode,
    )
    return image_transform_v2(cfg, is_train=False)
