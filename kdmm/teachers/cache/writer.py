"""Writing a store shard by shard, so that a killed writer loses one shard's work and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdmm.distributed import rank, world_size
from kdmm.errors import InputError
from kdmm.teachers.cache.answering import answer
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.facts import differences
from kdmm.teachers.cache.files import clean, read_json, to_cpu, write_json
from kdmm.teachers.cache.finishing import PLAN, Shards, finish
from kdmm.teachers.cache.format import merged
from kdmm.teachers.cache.plan import Plan
from kdmm.teachers.cache.table import KEY, VALID, Column, encoded, fitted
from kdmm.teachers.cache.table_plan import Shard, TablePlan
from kdmm.teachers.cache.version import check_version
from kdmm.teachers.teacher import Running

__all__ = ["Writer"]


class Writer:
    """Answers all that a plan asks for, and writes it.

    Shard n of a table is written by rank ``n % world_size``, whole and under its name, or not at all. One that is
    there is passed over, so a killed writer is started again and goes on. Batches begin with their shard: whatever
    was killed, and however many ranks there are, the files are the same to the byte, as long as the teacher answers
    the same.

    Args:
        folder: the store.
        plan: what it is to hold.
        teachers: that run, by their names in a batch.
        data: the DataModule that was planned for.
        instead: what to do where the folder was begun with something else that is not to be gone on with.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        teachers: Mapping[str, Running],
        data: CacheSource,
        instead: str = "write another store",
    ) -> None:
        self.folder = folder
        self.plan = plan
        self.teachers = dict(teachers)
        self.data = data
        self.instead = instead
        self.shards = Shards(folder)
        self._answers: list[dict[str, Tensor]] = []
        self._lost: list[tuple[int, dict[str, dict[str, Tensor]]]] = []
        self._unheld: list[dict[str, Tensor]] = []
        self._disk = ThreadPoolExecutor(max_workers=1)  # writes while the next shard is answered
        self._pending: Future[None] | None = None

    def begin(self) -> None:
        """Make the folder, and say in it what it is to hold. Rank 0's work, before any other writes.

        Raises:
            InputError: the folder holds a store that was begun with something else; the message names it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / PLAN
        if path.is_file():
            begun = read_json(path)
            check_version(self.folder, int(begun.get("version", 1)))
            differ = differences(begun, self.plan.described)
            if differ:
                raise InputError(
                    f"The store {self.folder} was begun with something else: {'; '.join(differ)}. Take what it was "
                    f"begun with, or {self.instead}."
                )
        elif any(self.folder.glob("*.safetensors")):
            raise InputError(f"The folder {self.folder} holds other files. Write the store to a folder of its own.")
        else:
            write_json(path, self.plan.described)

    def __len__(self) -> int:
        return sum(shard.last - shard.first for table in self.plan.tables.values() for shard in self._mine(table))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of this rank's shards that are not there yet, for `step`."""
        for table in self.plan.tables.values():
            mine = self._mine(table)
            for split in dict.fromkeys(shard.split for shard in mine):
                own = [shard for shard in mine if shard.split == split]
                batches = iter(table.batches(self.data, split, own))
                for shard in own:
                    for number in range(shard.first, shard.last):
                        inputs = next(batches)
                        last = number == shard.last - 1
                        yield {"table": table.name, "file": shard.file, "last": last, "inputs": inputs or {}}
                for _ in batches:
                    raise AssertionError("as many batches as were asked for")

    def step(self, item: Mapping[str, Any]) -> None:
        """Answer a batch, and write its shard if it was the last.

        Args:
            item: of the iteration, on the teacher's device.
        """
        table = self.plan.tables[item["table"]]
        if item["inputs"]:
            self._answer(table, item["inputs"])
        if item["last"]:
            self._write(table, item["file"])

    def end(self) -> None:
        """Wait for the disk."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None
        self._disk.shutdown()

    def finish(self) -> None:
        """Put what all ranks have written together; the manifest, which makes it a store, is written last.

        Rank 0's work, after all ranks have ended.

        Raises:
            InputError: two samples have one key.
        """
        finish(self.folder, self.plan, self.shards, self.data)
        clean(self.folder)

    @torch.no_grad()
    def _answer(self, table: TablePlan, inputs: Mapping[str, Any]) -> None:
        outputs = answer(self.teachers[table.part], {name: x for name, x in inputs.items() if name != KEY})
        rows = {name: outputs[name].float() for name in table.columns}
        valid = {f"{VALID}{name}": outputs[f"{VALID}{name}"] for name in rows if f"{VALID}{name}" in outputs}
        kept = encoded({**rows, **valid}, table.columns)
        again = {name: _decoded(column, kept) for name, column in table.columns.items()}
        formats = {name: column.format for name, column in table.columns.items()}
        losses = {name: each.losses(rows[name], again[name]) for name, each in formats.items()}
        self._lost.append((len(inputs[KEY]), losses))
        self._unheld.append({name: each.is_unheld(rows[name], again[name]) for name, each in formats.items()})
        self._answers.append({**kept, KEY: inputs[KEY]})

    def _write(self, table: TablePlan, file: str) -> None:
        answers, lost, unheld = self._answers, self._lost, self._unheld
        self._answers, self._lost, self._unheld = [], [], []
        names = answers[0] if answers else ()
        tensors = to_cpu({name: fitted([each[name] for each in answers]) for name in names})
        errors = {
            name: merged([(rows, {key: float(x) for key, x in each[name].items()}) for rows, each in lost])
            for name in table.columns
            if lost
        }
        for name, column in table.columns.items():
            if any(bool(each[name]) for each in unheld):
                raise InputError(f"format of {table.name}.{name}: the teacher gives {column.format.unheld}")
            _check_valid(f"{table.name}.{name}", column, tensors.get(f"{VALID}{name}"))
        if self._pending is not None:
            self._pending.result()
        self._pending = self._disk.submit(self._save, file, tensors, errors)

    def _save(self, file: str, tensors: Mapping[str, Tensor], errors: Mapping[str, Mapping[str, float]]) -> None:
        size, checksum = self.shards.write(file, tensors)
        self.shards.note(file, len(tensors[KEY]) if tensors else 0, size, checksum, errors)

    def _mine(self, table: TablePlan) -> list[Shard]:
        own = table.shards[rank() :: world_size()]
        return [shard for shard in own if not self.shards.is_there(shard.file)]


def _decoded(column: Column, kept: Mapping[str, Tensor]) -> Tensor:
    own = {name.removeprefix(column.name): x for name, x in kept.items() if name.startswith(column.name)}
    return column.format.decode(own)


def _check_valid(name: str, column: Column, valid: Tensor | None) -> None:
    """Refuse tokens that would be read back as others."""
    if column.ragged and valid is not None and not bool(valid[:, 0].all()):
        raise InputError(
            f"outputs: the tokenizer of {name} fills short texts up at their begin, so a token's place depends on the "
            "batch. Name the outputs that are kept without it, with --outputs."
        )
