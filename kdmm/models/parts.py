"""A model's batch in parts of some samples each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kdmm.errors import InputError

__all__ = ["parts_of"]

PRESENT = "present/"


def parts_of(batch: Mapping[str, Any], size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the batch ``size`` samples at a time, each part with its number of samples, as the model reads it.

    An entry has a row a sample; or, where ``present/<modality>`` (B,) says which samples have its modality, a row for
    each of them. A part in which none has it is then without the entry.

    Args:
        batch: of one model: tensors, lists, and mappings and tuples of tensors.
        size: samples a part.

    Raises:
        InputError: an entry has neither number of rows.
    """
    flags = {name.removeprefix(PRESENT): flag for name, flag in batch.items() if name.startswith(PRESENT)}
    total = next((len(x) for x in (*flags.values(), *_tensors(batch))), 0)
    before = {name: [0, *torch.cumsum(flag, 0).tolist()] for name, flag in flags.items()}
    everyone = range(total + 1)
    for start in range(0, total, size):
        samples = slice(start, min(start + size, total))
        part = {}
        for name, value in batch.items():
            modality = name.rpartition("/")[2]
            rows = _cut(name, value, samples, everyone if name.startswith(PRESENT) else before.get(modality, everyone))
            if rows is not None:
                part[name] = rows
        yield samples.stop - samples.start, part


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors with rows that a value holds."""
    if isinstance(value, Tensor):
        yield from [value] if value.ndim else []
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(each)


def _cut(name: str, value: Any, samples: slice, before: Sequence[int]) -> Any:
    """Return an entry's rows of some samples; None if there are no rows for them.

    Args:
        name: the entry's.
        value: the entry.
        samples: which.
        before: how many samples that have the entry's modality come before each sample, and at the end all of them.
    """
    if isinstance(value, Mapping):
        return {key: _cut(f"{name}.{key}", each, samples, before) for key, each in value.items()}
    if isinstance(value, tuple) or (isinstance(value, list) and any(isinstance(each, Tensor) for each in value)):
        return type(value)(_cut(f"{name}.{key}", each, samples, before) for key, each in enumerate(value))
    if not isinstance(value, Tensor | list) or (isinstance(value, Tensor) and not value.ndim):
        return value
    total, having = len(before) - 1, before[-1]
    if len(value) == total:
        return value[samples]
    if len(value) != having:
        raise InputError(
            f"Chunked: {name!r} has {len(value)} rows in a batch of {total} samples, {having} of which have it. "
            "Give a row a sample, or a row a sample that has it beside its `present/` flags."
        )
    rows = slice(before[samples.start], before[samples.stop])
    return value[rows] if rows.start < rows.stop else None
