"""A split's embeddings and labels, for probes."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from kdmm.data.sample import MediaRef
from kdmm.data.source import Source, Split
from kdmm.errors import InputError, nearest
from kdmm.models.embed import embed_media, embed_texts

__all__ = ["embedded"]

NO_CLASS = -1


def embedded(
    model: nn.Module, source: Source, split: Split, label: str, modality: str = "image", batch_size: int = 64
) -> tuple[Float[Tensor, "N D"], Int64[Tensor, "N"]]:
    """Embed the samples of a split that have a modality, without augmentation, and return them with their labels.

    So a probe of a model is ``linear_probe(*embedded(model, source, "train", "instrument", "audio"), *embedded(model,
    source, "test", "instrument", "audio"))``, or ``knn_probe`` of the same.

    Args:
        model: gives the modality.
        source: whose samples are taken.
        split: of the source.
        label: which label; -1 for a sample without it.
        modality: ``image``, ``audio``, or ``text``: then the first caption.
        batch_size: samples at a time.

    Raises:
        InputError: no sample has the modality, or none the label, or a medium cannot be read.
    """
    samples = [sample for sample in source.samples(split) if sample.has(modality)]
    known = dict.fromkeys(name for sample in samples for name in sample.labels)
    if not samples:
        raise InputError(f"modality: no sample of the {split} split of {source} has {modality!r}.")
    if label not in known:
        raise InputError(
            f"label: the samples of {source} have no {label!r}; they have {', '.join(known) or 'none'}."
            + nearest(label, known)
        )
    parts = []
    for start in range(0, len(samples), batch_size):  # so that few media are in memory at once
        some = samples[start : start + batch_size]
        if modality == "text":
            parts.append(embed_texts(model, [sample.captions[0] for sample in some]))
            continue
        parts.append(embed_media(model, modality, [_opened(sample.media[modality]) for sample in some], batch_size))
    return torch.cat(parts), torch.tensor([sample.labels.get(label, NO_CLASS) for sample in samples])


def _opened(ref: MediaRef) -> Any:
    try:
        return ref.open()
    except InputError as error:
        raise InputError(f"{ref.path}: {error}. Mend it, or leave it out.") from error
