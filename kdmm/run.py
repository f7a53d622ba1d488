"""Fit, load, evaluate, report: what the command line and notebooks share."""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import platform
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from kdmm import config as configuration
from kdmm import targets
from kdmm.analysis import images_per_second
from kdmm.callbacks import Checkpoints, MetricsCsv, SkippedSamples, StepSeed, Wandb, progress
from kdmm.config import Config
from kdmm.errors import InputError
from kdmm.metrics import retention
from kdmm.models import load_model, save_model
from kdmm.modules import DistillationModule, TrainingModule
from kdmm.teachers import model_file

__all__ = ["Run", "evaluate", "fit", "load", "report"]

ROOT = Path("runs")
NOISE = (  # Lightning's advice that does not concern what the user asked for
    ".*does not have many workers.*",
    ".*is smaller than the logging interval.*",
    ".*in eval mode at the start of training.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*GPU available but not used.*",
    ".*Total length of `list` across ranks is zero.*",  # a source without a val split
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


@dataclass(frozen=True)
class Run:
    """A finished run."""

    dir: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        summary: dict[str, Any] = json.loads((self.dir / "metrics.json").read_text("utf-8"))
        return summary

    @property
    def metrics(self) -> dict[str, float]:
        """The final numbers, by the names they have in the logs."""
        return {name: math.nan if value is None else value for name, value in self.summary["metrics"].items()}

    @cached_property
    def model(self) -> nn.Module:
        """The trained model, in evaluation mode."""
        return load(self.dir)


def fit(
    config: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    overwrite: bool = False,
    allow: Sequence[str] = (),
) -> Run:
    """Run one experiment and write ``runs/<name>/``.

    Args:
        config: an experiment's YAML file, or what one would hold.
        overrides: ``key=value`` strings that change single settings.
        resume: go on with an interrupted run.
        overwrite: replace an existing run.
        allow: packages of your own that the configuration may build from.

    Raises:
        InputError: the configuration, the data or the folder is not usable; nothing has been written.
        NonFiniteLossError: a term became NaN or infinite.
        InterruptedRunError: SIGINT or SIGTERM; the state is saved.
    """
    settings = configuration.load(config, overrides, tuple(allow))
    folder = ROOT / settings.name
    last = _claim(folder, settings, resume, overwrite)
    with _quiet(), ExitStack() as opened:
        module, data = _build(settings, tuple(allow))
        callbacks, checkpoints = _callbacks(settings, folder, tuple(allow))
        _open(folder, settings, overwrite)
        opened.enter_context(_nothing_half_begun(folder))
        began = time.monotonic()
        arguments = {**_trainer_settings(settings, callbacks), "default_root_dir": folder, "callbacks": callbacks}
        arguments["logger"] = _loggers(settings, folder, last, tuple(allow), opened)
        trainer = targets.call(pl.Trainer, arguments, "trainer", tuple(allow))
        trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
        if checkpoints.monitor is not None:
            state = torch.load(checkpoints.best_path, map_location="cpu", weights_only=True)["state_dict"]
            module.load_state_dict(state)
        validated = trainer.validate(module, datamodule=data, verbose=False)[0] if data.has("val") else {}
        if trainer.is_global_zero:
            _finish(folder, settings, module, data, trainer, dict(validated), time.monotonic() - began)
        trainer.strategy.barrier("kdmm.fit")
    return Run(folder)


def load(run: str | Path, allow: Sequence[str] = ()) -> nn.Module:
    """Load the model of a run, or of a model file: a plain ``nn.Module`` with ``.preprocess``; no teacher is needed.

    Args:
        run: the run's folder, or a ``.safetensors`` file that kdmm wrote.
        allow: packages of your own that the model is built from.
    """
    path = Path(run)
    return load_model(path if path.is_file() else model_file(path), allow=tuple(allow))


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    split: str = "test",
    allow: Sequence[str] = (),
) -> dict[str, float]:
    """Measure a finished run's model and add the numbers to its ``metrics.json``.

    Args:
        run: the run's folder.
        data: another experiment file whose ``data`` is measured on; its numbers are returned, not written.
        overrides: ``key=value`` strings that change the run's settings.
        split: ``test`` or ``val``.
        allow: packages of your own that the configuration may build from.

    Returns:
        The metrics by name; with a teacher, ``retention/<metric>`` too.
    """
    folder = Path(run)
    path = model_file(folder)
    settings = configuration.load(folder / "config.yaml", overrides)
    if data is not None:
        settings.data = configuration.load(data, ()).data
    role = path.stem
    with _quiet():
        tree = {**settings.module, role: load_model(path, allow=tuple(allow))}
        module = targets.build(tree, allow=tuple(allow), path="module").online()
        datamodule = targets.build(settings.data, allow=tuple(allow), path="data")
        datamodule.use(module.preprocess)
        trainer = pl.Trainer(
            accelerator=settings.trainer.get("accelerator", "auto"),
            devices=1,
            precision=settings.trainer.get("precision", "32-true"),
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        measure = trainer.test if split == "test" else trainer.validate
        found = {name: float(value) for name, value in measure(module, datamodule=datamodule, verbose=False)[0].items()}
    metrics = {**found, **_retention(found, split)}
    if data is None:
        summary = json.loads((folder / "metrics.json").read_text("utf-8"))
        summary["metrics"] = {**Run(folder).metrics, **metrics}
        summary["split"] = split
        summary["data"] = datamodule.describe(split)
        _write_summary(folder / "metrics.json", summary)
    return metrics


def report(runs: Sequence[str | Path], output: str | Path | None = None) -> Any:
    """Compare finished runs in one table.

    Args:
        runs: their folders.
        output: a Markdown file to write the table to.
    """
    from kdmm.analysis.report import Report

    table = Report.from_runs([Path(run) for run in runs])
    if output is not None:
        Path(output).write_text(table.to_markdown() + "\n", encoding="utf-8")
    return table


def _is_first_process() -> bool:
    return int(os.environ.get("LOCAL_RANK", "0")) == 0 and int(os.environ.get("NODE_RANK", "0")) == 0


def _claim(folder: Path, settings: Config, resume: bool, overwrite: bool) -> Path | None:
    """Return the checkpoint to go on from; refuse a folder that is in use."""
    last = folder / "checkpoints" / "last.ckpt"
    if resume and overwrite:
        raise InputError("--resume goes on with a run and --overwrite replaces it: give one of the two.")
    if resume:
        if not (folder / "config.yaml").is_file():
            raise InputError(f"--resume: there is no run in {folder}. Start it without --resume.")
        changed = configuration.differences(configuration.load(folder / "config.yaml", ()), settings)
        changed = [key for key in changed if key.split(".")[0] in ("seed", "data", "module")]
        if changed:
            raise InputError(
                f"--resume: {', '.join(changed)} differ from the run's {folder / 'config.yaml'}. Resume with the "
                "settings it was started with, or start anew under another name."
            )
        return last if last.is_file() else None
    if _is_first_process() and folder.exists() and any(folder.iterdir()) and not overwrite:
        raise InputError(
            f"The run {folder} exists. Go on with it by --resume, replace it by --overwrite, or set another `name=`."
        )
    return None


@rank_zero_only
def _open(folder: Path, settings: Config, overwrite: bool) -> None:
    """Make the run's folder, now that everything in it could be built; what it replaces is set aside."""
    if overwrite and folder.exists():
        shutil.rmtree(_set_aside(folder), ignore_errors=True)
        folder.rename(_set_aside(folder))
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    configuration.save(settings, folder / "config.yaml")


@contextmanager
def _nothing_half_begun(folder: Path) -> Iterator[None]:
    """Take the run's folder away again if the input turns out to be wrong before any state was saved in it.

    The run that it was to replace then stands where it stood; in any other case that one is gone.
    """
    try:
        yield
    except InputError:
        if _is_first_process() and not any((folder / "checkpoints").iterdir()):
            shutil.rmtree(folder)
            if _set_aside(folder).exists():
                _set_aside(folder).rename(folder)
        raise
    finally:
        if _is_first_process():
            shutil.rmtree(_set_aside(folder), ignore_errors=True)


def _set_aside(folder: Path) -> Path:
    """Return where a run waits until the one that replaces it has begun."""
    return folder.with_name(f"{folder.name}.replaced")


def _build(settings: Config, allow: tuple[str, ...]) -> tuple[TrainingModule, Any]:
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    data = targets.build(settings.data, allow=allow, path="data")
    pl.seed_everything(settings.seed, workers=True, verbose=False)  # the student starts alike whatever the data drew
    module = targets.build(settings.module, allow=allow, path="module")
    data.use(module.preprocess)
    data.setup("fit")
    module.dry_run(data.dry_batch(module.online_preprocess))
    return module, data


def _trainer_settings(settings: Config, callbacks: list[pl.Callback]) -> dict[str, Any]:
    return {
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
        **settings.trainer,
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "use_distributed_sampler": False,  # the DataModule shards over ranks itself, so that data order is its own
    }


def _callbacks(settings: Config, folder: Path, allow: tuple[str, ...]) -> tuple[list[pl.Callback], Checkpoints]:
    own = [
        targets.build(tree, allow=allow, path=f"callbacks.{name}") for name, tree in (settings.callbacks or {}).items()
    ]
    checkpoints = next((callback for callback in own if isinstance(callback, Checkpoints)), None)
    if checkpoints is None:
        checkpoints = Checkpoints()
        own.append(checkpoints)
    checkpoints.folder = str(folder / "checkpoints")
    bar = [progress()] if settings.trainer.get("enable_progress_bar", True) else []
    return [StepSeed(settings.seed), SkippedSamples(str(folder)), *own, *bar], checkpoints


def _loggers(settings: Config, folder: Path, last: Path | None, allow: tuple[str, ...], opened: ExitStack) -> list[Any]:
    step = 0 if last is None else _step(last)
    loggers: list[Any] = [MetricsCsv(str(folder), step)]
    for name, tree in (settings.logger or {}).items():
        named = {"name": settings.name, "folder": str(folder)} if tree["_target_"].endswith(".Wandb") else {}
        logger = targets.build({**named, **tree}, allow=allow, path=f"logger.{name}")
        if isinstance(logger, Wandb):
            opened.callback(logger.close)  # else the next run of this process would be logged into this one
        logger.log_hyperparams(configuration.to_dict(settings))
        loggers.append(logger)
    return loggers


def _step(checkpoint: Path) -> int:
    """Return the optimizer steps that a checkpoint stands behind."""
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(
            f"--resume: {checkpoint} is damaged ({str(error).splitlines()[0]}). Start the run anew with --overwrite."
        ) from error


def _finish(
    folder: Path,
    settings: Config,
    module: TrainingModule,
    data: Any,
    trainer: pl.Trainer,
    validated: dict[str, Any],
    wall_time_s: float,
) -> None:
    path = folder / f"{module.role}.safetensors"
    save_model(path, module.model, settings.module[module.role])
    metrics = {name: float(value) for name, value in validated.items()}
    parameters = list(module.model.parameters())
    summary = {
        "name": settings.name,
        "description": settings.description,
        "role": module.role,
        "seed": settings.seed,
        "split": "val",
        "metrics": {**metrics, **_retention(metrics, "val")},
        "parameters": {
            "total": sum(p.numel() for p in parameters),
            "trained": sum(p.numel() for p in parameters if p.requires_grad),
        },
        "size_bytes": path.stat().st_size,
        "wall_time_s": wall_time_s,
        "steps": trainer.global_step,
        "images_per_s": _images_per_s(module.model),
        "versions": _versions(),
        "data": data.describe("val") if data.has("val") else {},
        "teacher": _teacher_run(settings) if isinstance(module, DistillationModule) else None,
    }
    _write_summary(folder / "metrics.json", summary)
    for logger in trainer.loggers:
        if isinstance(logger, Wandb):
            logger.log_file(path, settings.name, "model")


def _images_per_s(model: nn.Module) -> float | None:
    """Return the model's speed, ``None`` for a model that reads no pictures, or none without captions."""
    if getattr(model.preprocess, "image", None) is None:
        return None
    try:
        return images_per_second({"model": model}, repeats=5).images_per_s["model"]
    except Exception as error:  # a model of the user's own, which training has just finished: never lose it over this
        warnings.warn(f"images_per_s is not measured: the model fails on pictures alone ({error}).", stacklevel=2)
        return None


def _teacher_run(settings: Config) -> str | None:
    tree = settings.module.get("teacher")
    while isinstance(tree, Mapping):
        if "run" in tree:
            return str(tree["run"])
        tree = tree.get("teacher")
    return None


def _retention(metrics: Mapping[str, float], split: str) -> dict[str, float]:
    """Return how much of the teacher's retrieval the student keeps, where both were measured."""
    own = {name.removeprefix(f"{split}/"): value for name, value in metrics.items()}
    of_teacher = {name.removeprefix("teacher/"): value for name, value in own.items() if name.startswith("teacher/")}
    return {f"{split}/{name}": value for name, value in retention(own, of_teacher).items()} if of_teacher else {}


def _versions() -> dict[str, str]:
    packages = ("kdmm", "torch", "lightning", "torchmetrics", "open_clip_torch", "timm", "transformers")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def _write_summary(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``metrics.json`` whole or not at all; JSON knows no NaN, which becomes null."""
    metrics = {name: value if math.isfinite(value) else None for name, value in content["metrics"].items()}
    partial = path.with_name(path.name + ".partial")
    try:
        text = json.dumps({**content, "metrics": metrics}, indent=2, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lightning says about itself; warnings that concern the user's settings still show."""
    talkers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [talker.level for talker in talkers]
    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message)
        for talker in talkers:
            talker.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for talker, level in zip(talkers, levels, strict=True):
                talker.setLevel(level)
