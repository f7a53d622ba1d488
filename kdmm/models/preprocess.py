"""What a model needs done to an image or a caption before it can read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL.Image import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip
from kdmm.models.files import locate
from kdmm.models.video import VideoPreprocess
from kdmm.outputs import MODALITIES

__all__ = [
    "AudioPreprocess",
    "ImagePreprocess",
    "ImageTransform",
    "OpenClipTokens",
    "Preprocess",
    "TextPreprocess",
    "TransformerTokens",
]

REMEMBERED_TEXTS = 200_000  # about 100 MB of short captions

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


@dataclass(frozen=True)
class TransformerTokens:
    """A transformers tokenizer, padded to the longest caption of the batch.

    Args:
        name: a hub name, a folder, or ``package:<module>/<folder>``.
        context_length: longer captions are cut to this many tokens.
    """

    name: str
    context_length: int = 64

    def __call__(self, texts: list[str]) -> Tensor:
        """Return token ids (N, T), T at most ``context_length``."""
        tokenizer, known = transformers_tokenizer(self.name), _known_tokens(self)
        unknown = [text for text in dict.fromkeys(texts) if text not in known]
        if len(known) + len(unknown) > REMEMBERED_TEXTS:
            known.clear()
            unknown = list(dict.fromkeys(texts))
        if unknown:
            ids = tokenizer(unknown, truncation=True, max_length=self.context_length).input_ids
            known.update(zip(unknown, map(torch.tensor, ids), strict=True))
        return pad_sequence(
            [known[text] for text in texts],
            batch_first=True,
            padding_value=tokenizer.pad_token_id,
            padding_side=tokenizer.padding_side,
        )


@lru_cache(maxsize=8)
def _known_tokens(tokens: TransformerTokens) -> dict[str, Tensor]:
    """Return the memory of one tokenizer's texts in this process: captions come again every epoch."""
    return {}


@lru_cache(maxsize=8)
def transformers_tokenizer(name: str) -> Any:
    """Load a transformers tokenizer once a process."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(locate(name)), trust_remote_code=False)


@dataclass(frozen=True)
class OpenClipTokens:
    """The tokenizer that an open_clip architecture names, padded to its context length.

    Args:
        architecture: as for :class:`kdmm.models.OpenClip`.
    """

    architecture: str

    def __call__(self, texts: list[str]) -> Tensor:
        """Return token ids (N, T), T the architecture's context length."""
        tokens: Tensor = _open_clip_tokenizer(self.architecture)(texts)
        return tokens


@lru_cache(maxsize=8)
def _open_clip_tokenizer(architecture: str) -> Any:
    text = open_clip_text_settings(architecture)
    # An argument overrides the settings. open_clip's other tokenizers have no such argument: they run no such files.
    no_code = {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}
    return open_clip.get_tokenizer(architecture, **no_code)


def open_clip_text_settings(architecture: str) -> dict[str, Any]:
    """Return the ``text_cfg`` of an open_clip architecture.

    Args:
        architecture: as for :class:`kdmm.models.OpenClip`.

    Raises:
        InputError: the settings cannot be read, or would let the tokenizer run Python files of their author's.
    """
    try:
        settings = _open_clip_settings(architecture)
        text: dict[str, Any] = dict(settings["text_cfg"])
        wanted = dict(text.get("tokenizer_kwargs") or {})
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"OpenClip.architecture: the settings of {architecture!r} could not be loaded ({error}). "
            "Without a network, give 'local-dir:<folder>', a folder with open_clip_config.json."
        ) from error
    if wanted.get("trust_remote_code"):
        raise InputError(
            f"OpenClip.architecture: the settings of {architecture!r} ask for `tokenizer_kwargs.trust_remote_code`, "
            "which runs Python files that come with them; kdmm does not. If the tokenizer works without, take it "
            "out of a copy of open_clip_config.json and give 'local-dir:<folder>'."
        )
    return text


def _open_clip_settings(architecture: str) -> Any:
    schema, separator, place = architecture.partition(":")
    if not separator:
        return open_clip.get_model_config(architecture)
    if schema == "local-dir":
        file = Path(place) / "open_clip_config.json"
    else:
        file = Path(download_pretrained_from_hf(place, filename="open_clip_config.json"))
    return json.loads(file.read_text("utf-8"))["model_cfg"]
