"""Embedding pictures, sounds and captions with any model that says how it reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip
from kdmm.models.preprocess import Preprocess

__all__ = ["embed_images", "embed_media", "embed_sounds", "embed_texts"]


def embed_images(model: nn.Module, images: Sequence[Image], batch_size: int = 64) -> Float[Tensor, "N D"]:
    """Embed N pictures.

    Args:
        model: gives ``image``.
        images: of any size and mode.
        batch_size: pictures at a time.
    """
    return embed_media(model, "image", [image.convert("RGB") for image in images], batch_size)


def embed_sounds(model: nn.Module, sounds: Sequence[AudioClip], batch_size: int = 64) -> Float[Tensor, "N D"]:
    """Embed N sounds.

    Args:
        model: gives ``audio``.
        sounds: of any rate, length and number of channels.
        batch_size: sounds at a time.
    """
    return embed_media(model, "audio", sounds, batch_size)


def embed_media(model: nn.Module, modality: str, media: Sequence[Any], batch_size: int = 64) -> Float[Tensor, "N D"]:
    """Embed N pictures or sounds.

    Args:
        model: gives the modality.
        modality: ``image`` or ``audio``.
        media: of that modality.
        batch_size: of them at a time.

    Raises:
        InputError: the model does not read them, or there are none.
    """
    transform = cast(Preprocess, model.preprocess).media.get(modality)
    if transform is None:
        raise InputError(f"{type(model).__name__} reads no {'pictures' if modality == 'image' else modality}.")
    parts = _parts(media, batch_size)
    return _embed(model, modality, [torch.stack([transform(each) for each in part]) for part in parts])


def embed_texts(model: nn.Module, texts: Sequence[str], batch_size: int = 256) -> Float[Tensor, "N D"]:
    """Embed N captions.

    Args:
        model: gives ``text``.
        texts: the captions.
        batch_size: captions at a time.
    """
    tokenize = cast(Preprocess, model.preprocess).text
    if tokenize is None:
        raise InputError(f"{type(model).__name__} reads no text.")
    return _embed(model, "text", [tokenize(list(part)) for part in _parts(texts, batch_size)])


def _parts(items: Sequence, size: int) -> list[Sequence]:  # type: ignore[type-arg]
    return [items[start : start + size] for start in range(0, len(items), size)]


@torch.no_grad()
def _embed(model: nn.Module, modality: str, inputs: list[Tensor]) -> Tensor:
    if not inputs:
        raise InputError(f"There is nothing to embed: the list for {modality!r} is empty.")
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        return torch.cat([model({modality: rows.to(device)})[modality] for rows in inputs])
    finally:
        model.train(training)
