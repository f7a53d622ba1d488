"""Writing a teacher's answers to a data set under Lightning, on any number of devices and machines."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import nn

from kdmm import targets
from kdmm.callbacks import progress
from kdmm.config import Config
from kdmm.errors import InputError
from kdmm.teachers import StoredTeacher, Teacher
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.fitness import check_data, check_files, check_samples, check_teacher
from kdmm.teachers.cache.members import members_of, recipe_of
from kdmm.teachers.cache.plan import Plan
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.store import Store
from kdmm.teachers.cache.verifying import Verified, verify
from kdmm.teachers.cache.writer import Writer

__all__ = ["Kept", "Settings", "Verified", "Written", "folder_for", "parts_of", "verified", "write"]

STORES = Path("stores")
DEVICES = ("accelerator", "devices", "num_nodes", "strategy", "precision")
"""The settings of a run's trainer that a writer takes over."""


@dataclass(frozen=True)
class Kept:
    """What a store holds of one output.

    Args:
        output: ``<table>.<name>``.
        format: that it is kept in.
        entries: how many.
        lost: by the format, such as ``cosine_min``.
    """

    output: str
    format: str
    entries: int
    lost: Mapping[str, float]


@dataclass(frozen=True)
class Written:
    """A store.

    Args:
        folder: where it is.
        size_bytes: of its shards.
        kept: by output.
    """

    folder: Path
    size_bytes: int
    kept: tuple[Kept, ...]

    @classmethod
    def of(cls, folder: Path) -> Written:
        """Describe a finished store."""
        tables = Store(folder).manifest["tables"]
        kept = tuple(
            Kept(f"{name}.{output}", about["format"], told["rows"], about["lost"])
            for name, told in tables.items()
            for output, about in told["columns"].items()
        )
        return cls(folder, sum(note["bytes"] for told in tables.values() for note in told["shards"]), kept)


def parts_of(settings: Config, allow: tuple[str, ...]) -> tuple[Teacher, CacheSource]:
    """Build the running teacher of an experiment, and its data; not the student.

    Args:
        settings: of the experiment.
        allow: packages that may be named besides kdmm's own list.

    Raises:
        InputError: the experiment has no teacher that runs, or its data give no samples by their positions.
    """
    tree = settings.module.get("teacher")
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    data = targets.build(settings.data, allow=allow, path="data")
    if not isinstance(data, CacheSource):
        raise InputError(f"data: {type(data).__name__} gives no samples by their place. Take one of kdmm.data.")
    teacher = None if tree is None else targets.build(tree, allow=allow, path="module.teacher")
    if not isinstance(teacher, Teacher):
        found = "there is none" if teacher is None else f"{type(teacher).__name__} is in training itself"
        raise InputError(f"module.teacher: {found}. Give an experiment with a teacher, such as kdmm.teachers.FromRun.")
    if isinstance(teacher, StoredTeacher) and not teacher.running:
        raise InputError(
            "module.teacher: it is read from a store, and nothing runs that could fill one. Give it the running "
            "`teacher`, such as kdmm.teachers.FromRun."
        )
    return teacher.online(), data


def folder_for(settings: Config, store: str | Path | None) -> Path:
    """Return where a store goes: as given, as the experiment's own teacher names it, or ``stores/<name>``.

    Args:
        settings: of the experiment.
        store: as given.
    """
    named = settings.module.get("teacher", {})
    return Path(store or (isinstance(named, Mapping) and named.get("store")) or STORES / settings.name)


def write(teacher: Teacher, data: CacheSource, folder: Path, settings: Settings, trainer: Mapping[str, Any]) -> Written:
    """Write a store, or go on with one.

    Args:
        teacher: the running one, or an ensemble.
        data: the DataModule.
        folder: the store.
        settings: how it is written.
        trainer: the settings of a Trainer.

    Raises:
        InputError: the folder holds a store of something else, or an answer cannot be kept.
    """
    members = members_of(teacher)
    plan = Plan.of(members, data, settings, recipe_of(teacher))
    writer = Writer(folder, plan, members, data)
    runner = pl.Trainer(
        **{name: trainer[name] for name in DEVICES if name in trainer},
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=bool(trainer.get("enable_progress_bar", True)),
        callbacks=[progress()] if trainer.get("enable_progress_bar", True) else [],
        use_distributed_sampler=False,  # the writer shares the shards out itself
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Total length of `Writer`.*")  # its shards are there, which is fine
        runner.predict(_Writing(writer), dataloaders=writer, return_predictions=False)
    runner.strategy.barrier("kdmm.cache.written")
    if runner.is_global_zero:
        writer.finish()
    runner.strategy.barrier("kdmm.cache.finished")
    return Written.of(folder)


def verified(teacher: Teacher, data: CacheSource, folder: Path, count: int, device: Any) -> list[Verified]:
    """Check a store's files, what it was made from, and random entries.

    Args:
        teacher: the running one, or an ensemble.
        data: the DataModule.
        folder: the store.
        count: entries of each table.
        device: that the teacher runs on.

    Raises:
        InputError: the store is damaged, or made from something else; the message names what differs.
    """
    store, members = Store(folder), members_of(teacher)
    check_files(store)
    check_data(store, data)
    check_teacher(store, members)
    check_samples(store, data, store.manifest["splits"])
    teacher.to(device)
    return verify(store, members, data, count)


class _Writing(pl.LightningModule):
    """Lets a Trainer place the teachers and call the writer."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        # A rank may have nothing to write: there are fewer shards than ranks, or its own are there already.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.writer = writer
        self.teachers = nn.ModuleDict(dict(writer.teachers))

    def setup(self, stage: str) -> None:
        """Begin the store. A rank that has nothing to write comes here too, and not to the hooks of the loop."""
        if self.trainer.is_global_zero:
            self.writer.begin()
        self.trainer.strategy.barrier("kdmm.cache.begun")

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> int:
        """Answer a batch; return its number, since Lightning warns of a step that returns nothing."""
        self.writer.step(batch)
        return batch_idx

    def teardown(self, stage: str) -> None:
        """Wait for the disk."""
        self.writer.end()
