"""From shards to a store: notes about shards, the index of keys, the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdmm.errors import InputError
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.files import checksum, mapped, read_json, write_json, write_tensors
from kdmm.teachers.cache.format import merged
from kdmm.teachers.cache.keys import TEXTS, Index
from kdmm.teachers.cache.plan import Plan
from kdmm.teachers.cache.table import KEY
from kdmm.teachers.cache.table_plan import TablePlan
from kdmm.teachers.cache.version import VERSION
from kdmm.views import stable_hash

__all__ = ["MANIFEST", "PLAN", "Shards", "finish", "own_checksum"]

PLAN = "plan.json"
MANIFEST = "manifest.json"


class Shards:
    """A store's shards, each with a note of its rows, its checksum and what its format lost.

    A shard counts as written when its note is there beside it, or once the manifest tells of it.

    Args:
        folder: the store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = folder / MANIFEST
        self._known: dict[str, Any] = {}
        if manifest.is_file():
            tables = read_json(manifest)["tables"].values()
            self._known = {note["file"]: note for table in tables for note in table["shards"]}

    def is_there(self, file: str) -> bool:
        """Return whether a shard is written."""
        path = self.folder / file
        if not path.is_file():
            return False
        return self._note_path(file).is_file() or self._known.get(file, {}).get("bytes") == path.stat().st_size

    def write(self, file: str, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
        """Write a shard; return its bytes and its checksum."""
        return write_tensors(self.folder / file, tensors)

    def note(self, file: str, rows: int, size: int, checksum: str, errors: Mapping[str, Mapping[str, float]]) -> None:
        """Note what a shard holds."""
        write_json(
            self._note_path(file),
            {"file": file, "rows": rows, "bytes": size, "checksum": checksum, "errors": errors},
        )

    def notes(self, table: TablePlan) -> list[dict[str, Any]]:
        """Return the notes of a table's shards.

        Raises:
            InputError: one is not written yet.
        """
        found = []
        for shard in table.shards:
            path = self._note_path(shard.file)
            if not self.is_there(shard.file):
                raise InputError(f"{self.folder / shard.file} is missing. Run `kdmm cache` again: it goes on.")
            found.append(read_json(path) if path.is_file() else self._known[shard.file])
        return found

    def forget(self) -> None:
        """Delete the notes, which the manifest holds now."""
        for path in self.folder.glob("*.note.json"):
            path.unlink(missing_ok=True)

    def _note_path(self, file: str) -> Path:
        return self.folder / f"{file.removesuffix('.safetensors')}.note.json"


def finish(folder: Path, plan: Plan, shards: Shards, data: CacheSource) -> None:
    """Write the index of each table, what is known of the samples, and at last the manifest.

    Args:
        folder: the store.
        plan: of it.
        shards: all written.
        data: the DataModule.

    Raises:
        InputError: a shard is missing, or two answers have one key.
    """
    tables = {name: _table(folder, table, shards) for name, table in plan.tables.items()}
    read = sorted({each for table in plan.tables.values() for each in table.reads if each not in TEXTS})
    manifest = {
        "version": VERSION,
        "facts": dict(plan.described),
        "views": plan.views,
        "splits": list(plan.settings.splits),
        "parts": {part: {name: float(x) for name, x in scales.items()} for part, scales in plan.scales.items()},
        "ensemble": dict(plan.ensemble),
        "media": read,
        "samples": {split: _samples(folder, data, split, read) for split in plan.settings.splits},
        "tables": tables,
    }
    write_json(folder / MANIFEST, {"checksum": own_checksum(manifest), **manifest})
    shards.forget()


def own_checksum(manifest: Mapping[str, Any]) -> str:
    """Return the checksum of what a manifest says."""
    return checksum(json.dumps({name: each for name, each in manifest.items() if name != "checksum"}).encode())


def _table(folder: Path, table: TablePlan, shards: Shards) -> dict[str, Any]:
    notes = shards.notes(table)
    keys = [mapped(folder / note["file"])[KEY] for note in notes if note["rows"]]
    every = torch.cat(keys) if keys else torch.zeros(0, dtype=torch.long)
    index = Index.of(every)
    if len(index) < len(every):
        raise InputError(
            f"{len(every) - len(index)} of the {len(every)} entries of the table {table.name} have the key of another: "
            "samples of one id in a source, or in the splits val and test. Give every sample its own id, or write the "
            "splits to stores of their own with --splits."
        )
    file = f"{table.name}.index.safetensors"
    size, digest = write_tensors(folder / file, {"key": index.keys, "row": index.rows})
    errors = {
        name: merged([(note["rows"], note["errors"][name]) for note in notes if name in note["errors"]])
        for name in table.columns
    }
    return {
        "part": table.part,
        "reads": list(table.reads),
        "rows": len(every),
        "columns": {
            name: {
                "format": column.format.name,
                "shape": list(column.shape),
                "ragged": column.ragged,
                "lost": errors[name],
            }
            for name, column in table.columns.items()
        },
        "index": {"file": file, "bytes": size, "checksum": digest},
        "shards": [dict(note) for note in notes],
    }


def _samples(folder: Path, data: CacheSource, split: str, read: list[str]) -> dict[str, Any]:
    """Write which samples of a split there are, and which media, to be compared with those of a run."""
    samples = data.everything(split)
    found = [(stable_hash(place.name), stable_hash(identity)) for place, identity in samples.identified(read)]
    table = torch.tensor(found, dtype=torch.long).reshape(-1, 2)
    index = Index.of(table[:, 0].contiguous())
    file = f"samples.{split}.safetensors"
    size, digest = write_tensors(folder / file, {"key": index.keys, "media": table[index.rows, 1].contiguous()})
    return {"file": file, "bytes": size, "checksum": digest, "shards": samples.identities()}
