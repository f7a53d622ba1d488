"""Looking at what a model retrieves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL.Image import Image
from torch import nn

from kdmm.models import embed_images, embed_texts

__all__ = ["Retrieved", "retrieve_examples"]


@dataclass(frozen=True)
class Retrieved:
    """One caption's answer: the rank of its own picture (1 is best) and the nearest pictures with their captions."""

    caption: str
    rank: int
    found: list[tuple[Image, str]]


def retrieve_examples(
    model: nn.Module, examples: Sequence[tuple[Image, str]], captions: int = 8, k: int = 5
) -> list[Retrieved]:
    """Search the pictures of ``examples`` with evenly chosen ones of their captions.

    Args:
        model: a dual encoder, with ``.preprocess``.
        examples: pictures with their captions; all of them are the gallery.
        captions: how many captions to search with.
        k: pictures to return for each.
    """
    images, texts = zip(*examples, strict=True)
    chosen = list(range(0, len(texts), max(1, len(texts) // captions)))[:captions]
    similarity = embed_texts(model, [texts[row] for row in chosen]) @ embed_images(model, images).T
    order = similarity.argsort(dim=1, descending=True)
    return [
        Retrieved(texts[row], order[n].tolist().index(row) + 1, [(images[i], texts[i]) for i in order[n, :k].tolist()])
        for n, row in enumerate(chosen)
    ]
