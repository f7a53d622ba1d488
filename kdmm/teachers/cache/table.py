"""Answers found by key, in memory or in files that are mapped into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdmm.teachers.cache.format import Format
from kdmm.teachers.cache.keys import Index

__all__ = ["KEY", "VALID", "Column", "Table", "encoded", "fitted"]

KEY = "key"
"""The tensor of the rows' keys, beside the answers."""
VALID = "valid/"
"""Before an answer's name: which of its places count."""


@dataclass(frozen=True)
class Column:
    """One kind of answer.

    Args:
        name: what it is called among the teacher's outputs.
        format: how it is kept.
        shape: of a sample's; of ``ragged`` ones, the first sample's.
        ragged: whether the number of its places (T, ...) is that of a batch's longest text.
    """

    name: str
    format: Format
    shape: tuple[int, ...]
    ragged: bool = False


class Table:
    """The answers to what was read together, such as all that a teacher says of pictures.

    Args:
        parts: of its rows, in order; each the kept tensors by name: the column's name with the format's suffixes.
        columns: by name.
        index: from key to row over all parts.
    """

    def __init__(self, parts: Sequence[Mapping[str, Tensor]], columns: Mapping[str, Column], index: Index) -> None:
        self.parts = list(parts)
        self.columns = dict(columns)
        self.index = index
        counts = [len(next(iter(part.values()))) for part in self.parts]
        self._ends = np.cumsum(counts) if counts else np.zeros(0, dtype=np.int64)
        self._starts = self._ends - np.array(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def to(self, device: torch.device) -> Table:
        """Return the table with its answers on a device; the index stays."""
        return Table(
            [{name: x.to(device) for name, x in part.items()} for part in self.parts], self.columns, self.index
        )

    def find(self, keys: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """Return each key's row, -1 where there is none."""
        return self.index.find(keys)

    def gather(self, rows: Int[Tensor, "N"]) -> dict[str, Tensor]:
        """Return the answers of rows (N, ...) in float32, by the column's name, and ``valid/<name>`` where kept.

        Args:
            rows: none of them -1.
        """
        if not len(rows):
            return {name: torch.zeros(0, *column.shape) for name, column in self.columns.items()}
        kept = self._kept(rows)
        found: dict[str, Tensor] = {}
        for name, column in self.columns.items():
            own = {full.removeprefix(name): x for full, x in kept.items() if _is_of(full, name)}
            answer, valid = column.format.decode(own), kept.get(f"{VALID}{name}")
            if valid is not None:
                valid = valid.bool()
                if column.ragged:  # as many places as the longest of these has, as when they are answered together
                    longest = int(valid.sum(1).max())
                    answer, valid = answer[:, :longest], valid[:, :longest]
                found[f"{VALID}{name}"] = valid
            found[name] = answer
        return found

    def _kept(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the kept tensors of rows."""
        if len(self.parts) == 1:
            (part,) = self.parts
            at = rows.to(next(iter(part.values())).device)
            return {name: x.index_select(0, at) for name, x in part.items() if name != KEY}
        numbers = rows.numpy()
        places = np.searchsorted(self._ends, numbers, side="right")
        order = np.argsort(places, kind="stable")
        touched, first = np.unique(places[order], return_index=True)
        offsets = torch.from_numpy(numbers - self._starts[places])[order]
        groups = torch.tensor_split(offsets, [int(each) for each in first[1:]])
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        names = [name for name in self.parts[0] if name != KEY]
        found = {}
        for name in names:
            rows_of = [self.parts[place][name].index_select(0, at) for place, at in zip(touched, groups, strict=True)]
            found[name] = fitted(rows_of).index_select(0, back)
        return found


def encoded(answers: Mapping[str, Float[Tensor, "N ..."]], columns: Mapping[str, Column]) -> dict[str, Tensor]:
    """Return what a table keeps of answers; ``valid/<name>`` as it is.

    Args:
        answers: by the column's name, each of N rows.
        columns: of the table.
    """
    kept: dict[str, Tensor] = {}
    for name, column in columns.items():
        kept |= {f"{name}{suffix}": x for suffix, x in column.format.encode(answers[name]).items()}
        if f"{VALID}{name}" in answers:
            kept[f"{VALID}{name}"] = answers[f"{VALID}{name}"].to(torch.uint8)
    return kept


def fitted(parts: Sequence[Tensor]) -> Tensor:
    """Put rows of several batches together; those with fewer places (N, T, ...) get zeros behind theirs."""
    if len(parts) == 1:
        return parts[0]
    if len({part.shape[1:] for part in parts}) > 1:
        longest = max(part.shape[1] for part in parts)
        parts = [torch.cat([part, part.new_zeros(len(part), longest - part.shape[1], *part.shape[2:])], 1)
                 for part in parts]  # fmt: skip
    return torch.cat(list(parts))


def _is_of(full: str, name: str) -> bool:
    return full == name or (full.startswith(f"{name}.") and "." not in full[len(name) + 1 :])
