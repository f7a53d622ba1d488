"""From settings to a module, its data and a Trainer."""

from __future__ import annotations

import pickle
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar

from kdmm import config as configuration
from kdmm import targets
from kdmm.callbacks import Checkpoints, MetricsCsv, SkippedSamples, StepSeed, Wandb, progress
from kdmm.config import Config
from kdmm.errors import InputError
from kdmm.modules import TrainingModule
from kdmm.runs.folder import CHECKPOINTS
from kdmm.runs.quiet import quiet

__all__ = ["build", "callbacks_for", "check_data", "checkpoints_of", "loggers_for", "trainer_for"]


def build(settings: Config, allow: tuple[str, ...]) -> tuple[TrainingModule, Any]:
    """Build the module and its data, and show the module one batch.

    Args:
        settings: of the run.
        allow: packages that may be named besides kdmm's own list.
    """
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    data = targets.build(settings.data, allow=allow, path="data")
    pl.seed_everything(settings.seed, workers=True, verbose=False)  # the student starts alike whatever the data drew
    module = targets.build(settings.module, allow=allow, path="module")
    data.use(module.preprocess)
    data.setup("fit")
    module.dry_run(data.dry_batch(module.online_preprocess))
    return module, data


def check_data(settings: Config, allow: tuple[str, ...]) -> None:
    """Read the data as a run does before it trains, and build no model.

    Args:
        settings: of the run.
        allow: packages that may be named besides kdmm's own list.

    Raises:
        InputError: the data are not usable, such as for a broken annotation or a file that is not there.
    """
    with quiet():
        targets.build(settings.data, allow=allow, path="data").setup("fit")


def callbacks_for(settings: Config, folder: Path, allow: tuple[str, ...]) -> list[pl.Callback]:
    """Build the callbacks that the settings name, and those that every run has."""
    own = [
        targets.build(tree, allow=allow, path=f"callbacks.{name}") for name, tree in (settings.callbacks or {}).items()
    ]
    if not any(isinstance(callback, Checkpoints) for callback in own):
        own.append(Checkpoints())
    checkpoints_of(own).folder = str(folder / CHECKPOINTS)
    bar = [progress()] if settings.trainer.get("enable_progress_bar", True) else []
    return [StepSeed(settings.seed), SkippedSamples(str(folder)), *own, *bar]


def checkpoints_of(callbacks: list[pl.Callback]) -> Checkpoints:
    """Return the callback that keeps the run's state."""
    return next(callback for callback in callbacks if isinstance(callback, Checkpoints))


def loggers_for(
    settings: Config, folder: Path, last: Path | None, allow: tuple[str, ...], opened: ExitStack
) -> list[Any]:
    """Build the loggers.

    Args:
        settings: of the run.
        folder: of the run.
        last: the checkpoint that the run goes on from, if any.
        allow: packages that may be named besides kdmm's own list.
        opened: closes what must be closed when the run ends.
    """
    loggers: list[Any] = [MetricsCsv(str(folder), 0 if last is None else _step(last))]
    for name, tree in (settings.logger or {}).items():
        named = {"name": settings.name, "folder": str(folder)} if tree["_target_"].endswith(".Wandb") else {}
        logger = targets.build({**named, **tree}, allow=allow, path=f"logger.{name}")
        if isinstance(logger, Wandb):
            opened.callback(logger.close)  # else the next run of this process would be logged into this one
        logger.log_hyperparams(configuration.to_dict(settings))
        loggers.append(logger)
    return loggers


def trainer_for(
    settings: Config, folder: Path, callbacks: list[pl.Callback], loggers: list[Any], allow: tuple[str, ...]
) -> pl.Trainer:
    """Build the Trainer of a run."""
    arguments = {
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
        **settings.trainer,
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "use_distributed_sampler": False,  # the DataModule shards over ranks itself, so that data order is its own
        "default_root_dir": folder,
        "callbacks": callbacks,
        "logger": loggers,
    }
    trainer: pl.Trainer = targets.call(pl.Trainer, arguments, "trainer", allow)
    return trainer


def _step(checkpoint: Path) -> int:
    """Return the optimizer steps that a checkpoint stands behind."""
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(
            f"--resume: {checkpoint} is damaged ({str(error).splitlines()[0]}). Start the run anew with --overwrite."
        ) from error
