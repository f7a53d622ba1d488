"""What a stored answer is found by: a number for what the teacher has read, and an index of such numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from kdmm.views import stable_hash

__all__ = ["TEXTS", "WRITTEN", "Index", "keys_of", "text_key", "view_key"]

TEXTS = ("text", "source")
"""Modalities whose content is its own key: a caption is stored once, whatever it stands beside."""

WRITTEN = {"text": "caption", "source": "source_text"}
"""Where a batch has the texts themselves: under their modality it has their tokens."""


def view_key(name: str, view: int, *texts: str) -> int:
    """Return the key of a view of a sample, and of the texts that were read with it.

    Args:
        name: the sample's id over all sources.
        view: its number.
        texts: those read with it.
    """
    return stable_hash(name, view, *texts)


def text_key(*texts: str) -> int:
    """Return the key of texts that are read without a medium."""
    return stable_hash(*texts)


def keys_of(reads: Sequence[str], batch: Mapping[str, Any], here: Sequence[bool]) -> Int[Tensor, "N"]:
    """Return the keys of those N samples of a batch that have all that is read.

    Args:
        reads: modalities that the answer depends on.
        batch: with ``id``, ``view``, ``caption`` and, where it is read, ``source_text``: lists of B.
        here: B flags, true for N samples.
    """
    columns = [batch[WRITTEN[each]] for each in TEXTS if each in reads]
    if any(each not in TEXTS for each in reads):
        columns = [batch["id"], batch["view"], *columns]
    rows = zip(*columns, strict=True)
    return torch.tensor([stable_hash(*row) for row, has in zip(rows, here, strict=True) if has], dtype=torch.long)


class Index:
    """Places of keys, as two arrays that several processes can share: sorted keys and the row of each.

    Args:
        keys: (N,) sorted, each once.
        rows: (N,) of the keys.
    """

    def __init__(self, keys: Int[Tensor, "N"], rows: Int[Tensor, "N"]) -> None:
        self.keys = keys
        self.rows = rows
        self._sorted = keys.numpy()

    @classmethod
    def of(cls, keys: Int[Tensor, "N"]) -> Index:
        """Return the index of keys that stand in the order of their rows; of equal ones the first counts."""
        ordered, rows = torch.sort(keys, stable=True)
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        return cls(ordered[first].contiguous(), rows[first].contiguous())

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: Int[Tensor, "M"]) -> Int[Tensor, "M"]:
        """Return the row of each key, -1 where there is none."""
        if not len(self):
            return torch.full_like(keys, -1)
        places = np.searchsorted(self._sorted, keys.numpy()).clip(max=len(self) - 1)
        found = torch.from_numpy(places)
        return torch.where(self.keys[found] == keys, self.rows[found], -1)
