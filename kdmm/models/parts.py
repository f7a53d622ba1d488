"""A model's batch in parts of some samples each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from kdmm.errors import InputError

__all__ = ["parts_of"]

PRESENT = "present/"


@dataclass(frozen=True)
class _Entry:
    """Where an entry's rows are among the samples.

    Args:
        name: the entry's, for the message.
        before: how many samples that have the entry's modality come before each sample, and at the end all of them.
    """

    name: str
    before: list[int]

    def cut(self, value: Any, samples: slice) -> Any:
        """Return the rows of some samples: of a tensor or list, or of all that a mapping or tuple of inputs holds."""
        if isinstance(value, Mapping):
            return {name: self.cut(each, samples) for name, each in value.items()}
        if isinstance(value, tuple) or (isinstance(value, list) and any(isinstance(x, Tensor) for x in value)):
            return type(value)(self.cut(each, samples) for each in value)
        if not isinstance(value, Tensor | list) or (isinstance(value, Tensor) and value.ndim == 0):
            return value
        total, having = len(self.before) - 1, self.before[-1]
        if len(value) == total:
            return value[samples]
        if len(value) == having:
            return value[self.before[samples.start] : self.before[samples.stop]]
        raise InputError(
            f"Chunked: {self.name!r} has {len(value)} rows in a batch of {total} samples, {having} of them with it. "
            "Give a row a sample, or a row a sample that has it beside its `present/` flags."
        )


def parts_of(batch: Mapping[str, Any], size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the batch ``size`` samples at a time, each part with its number of samples, as the model reads it.

    An entry has a row a sample; or, where ``present/<modality>`` (B,) says which samples have its modality, a row for
    each of them. A part in which none has it is without the entry.

    Args:
        batch: of one model: tensors, lists, and mappings and tuples of tensors.
        size: samples a part.
    """
    flags = {name.removeprefix(PRESENT): flag for name, flag in batch.items() if name.startswith(PRESENT)}
    tensors = [*flags.values(), *(x for x in tree_leaves(batch) if isinstance(x, Tensor) and x.ndim)]
    total = len(tensors[0]) if tensors else 0
    before = {name: [0, *torch.cumsum(flag, 0).tolist()] for name, flag in flags.items()}
    for start in range(0, total, size):
        samples = slice(start, min(start + size, total))
        part = {}
        for name, value in batch.items():
            entry = _Entry(name, before.get(name.rpartition("/")[2], list(range(total + 1))))
            if name.startswith(PRESENT) or entry.before[samples.start] < entry.before[samples.stop]:
                part[name] = entry.cut(value, samples)
        yield samples.stop - samples.start, part
