"""Which items of two sets of embeddings belong together."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from kdmm.metrics.embeddings import Items

__all__ = ["shared_labels"]


def shared_labels(
    first: Items, second: Items
) -> tuple[tuple[Int64[Tensor, "P"], Int64[Tensor, "P"]], tuple[Int64[Tensor, "Q"], Int64[Tensor, "Q"]]]:
    """Return (item, label) pairs of each set, as two lists: items that share a label belong together.

    A text's label is its caption, and an item of another modality has those of its sample's texts; where neither set
    holds texts, labels are samples. Two items share one label at most.

    Args:
        first: as `kdmm.metrics.embeddings.EmbeddingMetric.collected` gives them.
        second: the same of another source.
    """
    texts = next((each for each in (first, second) if each.is_text), None)
    return _labels(first, texts), _labels(second, texts)


def _labels(items: Items, texts: Items | None) -> tuple[Int64[Tensor, "P"], Int64[Tensor, "P"]]:
    if items.is_text or texts is None:
        rows = torch.arange(len(items.sample), device=items.sample.device)
        return rows, items.caption if items.is_text else items.sample
    return torch.searchsorted(items.sample, texts.sample), texts.caption  # samples are in order
