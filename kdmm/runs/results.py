"""The record of a run: what it says of itself when it is done, and when it is measured again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any

import lightning.pytorch as pl

from kdmm.analysis import DataRecord, ParameterCount, RunRecord
from kdmm.config import Config
from kdmm.metrics import retention
from kdmm.modules import DistillationModule, TrainingModule

__all__ = ["finished", "measured", "with_retention"]

PACKAGES = ("kdmm", "torch", "lightning", "torchmetrics", "open_clip_torch", "timm", "transformers")


def finished(
    settings: Config,
    module: TrainingModule,
    data: Any,
    trainer: pl.Trainer,
    metrics: Mapping[str, float],
    size_bytes: int,
    wall_time_s: float,
) -> RunRecord:
    """Return the record of a run that has ended.

    Args:
        settings: of the run.
        module: trained.
        data: its DataModule.
        trainer: that trained it.
        metrics: of the val split; none if there is no such split.
        size_bytes: of the model's file.
        wall_time_s: that it took.
    """
    parameters = list(module.model.parameters())
    return RunRecord(
        name=settings.name,
        role="teacher" if module.role == "teacher" else "student",
        split="val",
        metrics=with_retention(metrics, "val"),
        parameters=ParameterCount(
            total=sum(each.numel() for each in parameters),
            trained=sum(each.numel() for each in parameters if each.requires_grad),
        ),
        size_bytes=size_bytes,
        data=DataRecord.of(data.describe("val")) if data.has("val") else None,
        seed=settings.seed,
        steps=trainer.global_step,
        wall_time_s=wall_time_s,
        teacher=_teacher_run(settings) if isinstance(module, DistillationModule) else None,
        description=settings.description,
        versions={"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
    )


def measured(record: RunRecord, split: str, metrics: Mapping[str, float], description: Mapping[str, Any]) -> RunRecord:
    """Return a run's record with what an evaluation adds to it.

    Args:
        record: of the run so far.
        split: that was evaluated.
        metrics: found.
        description: of the evaluated data, by the DataModule.
    """
    return replace(record, split=split, metrics={**record.metrics, **metrics}, data=DataRecord.of(description))


def with_retention(metrics: Mapping[str, float], split: str) -> dict[str, float]:
    """Add how much of the teacher's quality the student keeps, where both were measured."""
    own = {name.removeprefix(f"{split}/"): value for name, value in metrics.items()}
    of_teacher = {name.removeprefix("teacher/"): value for name, value in own.items() if name.startswith("teacher/")}
    kept = retention(own, of_teacher) if of_teacher else {}
    return {**metrics, **{f"{split}/{name}": value for name, value in kept.items()}}


def _teacher_run(settings: Config) -> str | None:
    tree = settings.module.get("teacher")
    while isinstance(tree, Mapping):
        if "run" in tree:
            return str(tree["run"])
        tree = tree.get("teacher")
    return None
