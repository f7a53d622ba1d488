"""A written store: opening it and reading it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.teachers.cache.files import mapped, read_json, wrong_size
from kdmm.teachers.cache.finishing import MANIFEST, PLAN, own_checksum
from kdmm.teachers.cache.formats import parse_format
from kdmm.teachers.cache.keys import Index
from kdmm.teachers.cache.table import Column, Table, fitted
from kdmm.teachers.cache.version import check_version

__all__ = ["Store", "StoredTable"]


class StoredTable:
    """A table in files, and the same one in what was added to the store later.

    Args:
        reads: modalities that the answers depend on.
        tables: the store's, and the added ones.
    """

    def __init__(self, reads: Sequence[str], tables: Sequence[Table]) -> None:
        self.reads = tuple(reads)
        self.tables = list(tables)

    @property
    def columns(self) -> dict[str, Column]:
        """What is kept."""
        return self.tables[0].columns

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    def find(self, keys: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """Return each key's row over all tables, -1 where there is none."""
        rows = self.tables[0].find(keys)
        first = len(self.tables[0])
        for table in self.tables[1:]:
            added = table.find(keys)
            rows = torch.where((rows < 0) & (added >= 0), added + first, rows)
            first += len(table)
        return rows

    def gather(self, rows: Int[Tensor, "N"]) -> dict[str, Tensor]:
        """Return the answers of rows, as `Table.gather` does."""
        if len(self.tables) == 1:
            return self.tables[0].gather(rows)
        parts, places, first = [], [], 0
        for table in self.tables:
            here = ((rows >= first) & (rows < first + len(table))).nonzero().flatten()
            if len(here):
                parts.append(table.gather(rows[here] - first))
                places.append(here)
            first += len(table)
        return merge_rows(parts, places) if parts else self.tables[0].gather(rows)


class Store:
    """A store that `kdmm cache` has written.

    Args:
        folder: the store.
        is_added: whether it is within another one, to which it was added later.

    Raises:
        InputError: there is none, or it is not finished, or its manifest is damaged.
    """

    def __init__(self, folder: Path, is_added: bool = False) -> None:
        self.folder = folder
        self._remedy = (
            f"Delete the folder {folder}: the store is whole without it, and `fill: online` writes it again."
            if is_added
            else ""
        )
        path = folder / MANIFEST
        if not path.is_file():
            if (folder / PLAN).is_file():
                raise InputError(f"The store {folder} is not finished. Go on with it: the same `kdmm cache` again.")
            near = [each.name for each in folder.parent.iterdir()] if folder.parent.is_dir() else []
            raise InputError(
                f"There is no store {str(folder)!r}. Write it with `kdmm cache`.{nearest(folder.name, near)}"
            )
        rewrite = self._remedy or "Delete it, and run `kdmm cache` as before: the store is written again."
        self.manifest: dict[str, Any] = read_json(path, rewrite)
        check_version(folder, self.manifest.get("version"))
        if own_checksum(self.manifest) != self.manifest["checksum"]:
            raise InputError(f"{path} is damaged: it does not have its checksum. {rewrite}")

    @property
    def remedy(self) -> str:
        """What is to be done where a file is missing or damaged."""
        return self._remedy or "Delete it if it is there, and run `kdmm cache` as before: it alone is written again."

    @cached_property
    def added(self) -> list[Store]:
        """What was added later."""
        return [Store(each.parent, is_added=True) for each in sorted(self.folder.glob(f"added-*/{MANIFEST}"))]

    @property
    def facts(self) -> dict[str, str]:
        """What it was made from, by name."""
        return dict(self.manifest["facts"])

    @property
    def parts(self) -> dict[str, dict[str, float]]:
        """The scales of each teacher, by its name in a batch."""
        return dict(self.manifest["parts"])

    @cached_property
    def tables(self) -> dict[str, StoredTable]:
        """The tables by name."""
        found = {}
        for name, told in self.manifest["tables"].items():
            added = [each.table(name) for each in self.added if name in each.manifest["tables"]]
            found[name] = StoredTable(told["reads"], [self.table(name), *added])
        return found

    def tables_of(self, part: str) -> list[StoredTable]:
        """Return the tables of one teacher."""
        return [self.tables[name] for name, told in self.manifest["tables"].items() if told["part"] == part]

    def table(self, name: str) -> Table:
        """Return a table of this store alone."""
        told = self.manifest["tables"][name]
        columns = {
            each: Column(each, parse_format(about["format"]), tuple(about["shape"]), about["ragged"])
            for each, about in told["columns"].items()
        }
        parts = [self._mapped(note) for note in told["shards"] if note["rows"]]
        index = self._mapped(told["index"])
        return Table(parts, columns, Index(index["key"], index["row"]))

    def media(self, split: str) -> dict[int, int]:
        """Return the hash of each sample's media by the hash of its name."""
        found: dict[int, int] = {}
        for store in (self, *self.added):
            if split in store.manifest["samples"]:
                table = store._mapped(store.manifest["samples"][split])
                found.update(zip(table["key"].tolist(), table["media"].tolist(), strict=True))
        return found

    def shards(self, split: str) -> dict[str, dict[str, str]]:
        """Return what changes with the content of each shard that it was made from, by source and shard."""
        return dict(self.manifest["samples"].get(split, {}).get("shards", {}))

    @property
    def read(self) -> set[str]:
        """The modalities that its answers depend on."""
        return {each for told in self.manifest["tables"].values() for each in told["reads"]}

    def files(self) -> Iterator[Mapping[str, Any]]:
        """Yield each file's name, its bytes and its checksum."""
        for told in self.manifest["tables"].values():
            yield told["index"]
            yield from told["shards"]
        yield from self.manifest["samples"].values()

    def _mapped(self, note: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the tensors of a file that the manifest tells of."""
        path = self.folder / note["file"]
        if message := wrong_size(path, note["bytes"]):
            raise InputError(f"{message}. {self.remedy}")
        return mapped(path, self.remedy)


def merge_rows(parts: Sequence[Mapping[str, Tensor]], places: Sequence[Int[Tensor, "_"]]) -> dict[str, Tensor]:
    """Put answers that were found apart together; those with fewer places (N, T, ...) get zeros behind theirs.

    Args:
        parts: one or several, of the same names.
        places: of each part's rows in the whole.
    """
    back = torch.argsort(torch.cat(list(places)))
    found = {}
    for name in parts[0]:
        rows = fitted([part[name] for part in parts])
        found[name] = rows[back.to(rows.device)]
    return found
