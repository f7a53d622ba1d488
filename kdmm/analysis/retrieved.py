"""Looking at what a model retrieves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from kdmm.models import embed_media, embed_texts

__all__ = ["Retrieved", "retrieve_examples"]


@dataclass(frozen=True)
class Retrieved:
    """One caption's answer: its own picture's or sound's rank (1 is best), and the nearest ones with their captions."""

    caption: str
    rank: int
    found: list[tuple[Any, str]]


def retrieve_examples(
    model: nn.Module, examples: Sequence[tuple[Any, str]], captions: int = 8, k: int = 5, modality: str = "image"
) -> list[Retrieved]:
    """Search the media of ``examples`` with evenly chosen ones of their captions.

    Args:
        model: a dual encoder, with ``.preprocess``.
        examples: pictures, or sounds, with their captions; all of them are the gallery.
        captions: how many captions to search with.
        k: media to return for each.
        modality: of the media.
    """
    media, texts = zip(*examples, strict=True)
    chosen = list(range(0, len(texts), max(1, len(texts) // captions)))[:captions]
    similarity = embed_texts(model, [texts[row] for row in chosen]) @ embed_media(model, modality, media).T
    order = similarity.argsort(dim=1, descending=True)
    return [
        Retrieved(texts[row], order[n].tolist().index(row) + 1, [(media[i], texts[i]) for i in order[n, :k].tolist()])
        for n, row in enumerate(chosen)
    ]
