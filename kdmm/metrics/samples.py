"""Telling samples apart over batches and ranks, and reading what a batch says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.outputs import Batch
from kdmm.views import stable_hash

__all__ = ["check_depths", "first_rows", "hash_ids", "read_batch"]


def hash_ids(ids: Sequence[str]) -> Int64[Tensor, "N"]:
    """Return a 63-bit hash of each id, the same in every process.

    Ids are compared over ranks, and strings cannot be gathered. Two of a million ids collide with probability 5e-8.
    """
    return torch.tensor([stable_hash(each) for each in ids], dtype=torch.int64)


def first_rows(keys: Int64[Tensor, "N K"]) -> Int64[Tensor, "U"]:
    """Return the index of the first row of each of the U distinct keys, in the order of the keys' values."""
    distinct, which = torch.unique(keys, dim=0, return_inverse=True)
    rows = torch.arange(len(keys), device=keys.device)
    return rows.new_full((len(distinct),), len(keys)).scatter_reduce(0, which, rows, "amin")


def read_batch(batch: Batch, name: str, metric: str) -> Any:
    """Return ``batch[name]``.

    Raises:
        InputError: the batch holds no such entry.
    """
    if name not in batch:
        raise InputError(
            f"{metric} reads {name!r} from the batch, which holds only {', '.join(sorted(batch)) or 'nothing'}."
            + nearest(name, batch)
        )
    return batch[name]


def check_depths(k: Sequence[int], metric: str) -> tuple[int, ...]:
    """Return ``k`` in order without repeats.

    Raises:
        InputError: no depth, or one below 1.
    """
    if not k or min(k) < 1:
        raise InputError(f"{metric}.k: {list(k)} given; give depths of at least 1, such as [1, 5, 10].")
    return tuple(sorted(set(k)))
