"""Retrieval over every pair of modalities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from kdmm.errors import InputError
from kdmm.metrics.retrieval import Retrieval
from kdmm.metrics.samples import check_depths
from kdmm.outputs import Batch, Outputs

__all__ = ["AllPairs"]


class AllPairs(Metric):
    """Recall@k, median and mean rank over every pair of modalities, in both directions: six of three.

    Each pair is measured as :class:`Retrieval` measures it, on the samples that have both of its modalities, so samples
    that lack one take part where they can. Names are Retrieval's, such as ``audio_to_text/recall@1``; a pair's mean of
    both directions is ``audio_text/recall@1``, and ``recall@1`` is the mean of all directions.

    Args:
        modalities: of the student, three or more.
        k: depths of the recalls.
    """

    full_state_update = False

    def __init__(self, modalities: Sequence[str], k: Sequence[int] = (1, 5, 10)) -> None:
        super().__init__()
        if len(set(modalities)) != len(modalities) or len(modalities) < 3:
            raise InputError(f"AllPairs.modalities: {list(modalities)} given; give three or more different ones.")
        self.k = check_depths(k, "AllPairs")
        pairs = list(combinations(modalities, 2))
        self.pairs = nn.ModuleDict({"_".join(pair): Retrieval(pair, self.k) for pair in pairs})

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Add a batch's samples to every pair that the batch speaks of."""
        for pair in self.pairs.values():
            cast(Retrieval, pair).update(student, teacher, batch)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics of every pair.

        Raises:
            InputError: no sample has both modalities of a pair.
        """
        values: dict[str, Tensor] = {}
        means: dict[str, list[Tensor]] = {}
        for name, pair in self.pairs.items():
            for key, value in cast(Retrieval, pair).compute().items():
                if "/" in key:
                    values[key] = value
                else:
                    values[f"{name}/{key}"] = value
                    means.setdefault(key, []).append(value)
        return values | {key: torch.stack(some).mean() for key, some in means.items()}

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        for pair in self.pairs.values():
            cast(Retrieval, pair).reset()
