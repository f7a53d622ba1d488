"""Fit, load, evaluate, report: what the command line and notebooks share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import nn

from kdmm import config as configuration
from kdmm import targets
from kdmm.analysis import Report, RunRecord
from kdmm.analysis.record import FILE_NAME
from kdmm.callbacks import Wandb
from kdmm.data.source import SPLITS, Split
from kdmm.errors import InputError, nearest
from kdmm.models import load_model, retapped, save_model, untapped, untapped_tree
from kdmm.modules import TrainingModule
from kdmm.runs import build, caching, folder, generation, results
from kdmm.runs.caching import Verified, Written
from kdmm.runs.choosing import choice_by
from kdmm.runs.generation import Generated
from kdmm.runs.planning import plan
from kdmm.runs.quiet import quiet
from kdmm.runs.speed import measure_speed
from kdmm.runs.tuning import tune
from kdmm.teachers import model_file

__all__ = [
    "Generated",
    "Run",
    "Written",
    "cache",
    "complete",
    "evaluate",
    "fit",
    "generate",
    "load",
    "plan",
    "report",
    "tune",
    "verify",
]

ROOT = Path("runs")
MEASURED = ("val", "test")
ASKED_IN_TRAINING = ("train", "val")


@dataclass(frozen=True)
class Run:
    """A finished run."""

    dir: Path

    @cached_property
    def record(self) -> RunRecord:
        """What ``metrics.json`` holds."""
        return RunRecord.read(self.dir)

    @property
    def metrics(self) -> dict[str, float]:
        """The final numbers, by the names they have in the logs."""
        return dict(self.record.metrics)

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
    allowed = tuple(allow)
    settings = configuration.load(config, overrides, allowed)
    here = ROOT / settings.name
    last = folder.claim(here, settings, resume, overwrite)
    with quiet(), ExitStack() as opened:
        module, data = build.build(settings, allowed)
        callbacks = build.callbacks_for(settings, here, allowed)
        opened.enter_context(folder.opened(here, settings, overwrite))
        began = time.monotonic()
        loggers = build.loggers_for(settings, here, last, allowed, opened)
        trainer = build.trainer_for(settings, here, callbacks, loggers, allowed)
        trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
        checkpoints = build.checkpoints_of(callbacks)
        if checkpoints.monitor is not None:
            state = torch.load(checkpoints.best_path, map_location="cpu", weights_only=True)["state_dict"]
            module.load_state_dict(state)
        validated = trainer.validate(module, datamodule=data, verbose=False)[0] if data.has("val") else {}
        if trainer.is_global_zero:
            path = here / f"{module.role}.safetensors"
            save_model(path, untapped(module.model), untapped_tree(module.model_tree(settings.module)))
            metrics = {name: float(value) for name, value in validated.items()}
            seconds = time.monotonic() - began
            results.finished(settings, module, data, trainer, metrics, path.stat().st_size, seconds).write(here)
            for logger in trainer.loggers:
                if isinstance(logger, Wandb):
                    logger.log_file(path, settings.name, "model")
        trainer.strategy.barrier("kdmm.fit")
    return Run(here)


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

    The loss is left out: a term's own parameters, such as an adapter's, ended with training.

    Args:
        run: the run's folder.
        data: another experiment file whose ``data`` is measured on; its numbers are returned, not written.
        overrides: ``key=value`` strings that change the run's settings.
        split: ``test`` or ``val``.
        allow: packages of your own that the configuration may build from.

    Returns:
        The metrics by name; with a teacher, ``retention/<metric>`` too.
    """
    _check_split(split, MEASURED)
    here = Path(run)
    path = model_file(here)
    settings = configuration.load(here / folder.CONFIG, overrides)
    record = RunRecord.read(here) if data is None else None
    if data is not None:
        settings.data = configuration.load(data, ()).data
    with quiet():
        kind = cast(type[TrainingModule], targets.resolve(settings.module["_target_"], "module._target_", tuple(allow)))
        model = retapped(load_model(path, allow=tuple(allow)), kind.model_tree(settings.module))
        tree = kind.with_model(settings.module, model)
        module = targets.build(tree, allow=tuple(allow), path="module").online()
        module.has_trained_terms = False
        datamodule = targets.build(settings.data, allow=tuple(allow), path="data")
        datamodule.use(module.preprocess)
        if not datamodule.has(split):
            raise InputError(f"split: the data have no {split} split. Give another one, or other data.")
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
    metrics = results.with_retention(found, split)
    if record is not None:
        results.measured(record, split, metrics, datamodule.describe(split)).write(here)
    return metrics


def generate(
    run: str | Path,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    split: str = "train",
    beams: int = 4,
    max_tokens: int | None = None,
    output: str | Path | None = None,
    batch_size: int = 64,
    nearest: str | None = None,
    judge: str | Path | None = None,
    allow: Sequence[str] = (),
) -> Generated:
    """Let a finished run's model write about a data set, and keep its texts as a table.

    What a teacher writes for sources alone is what its student learns by sequence-level distillation (Kim and Rush
    2016, https://arxiv.org/abs/1606.07947): :class:`kdmm.data.ParallelTable` reads the table with ``id: id`` and
    ``group: group``.

    Of samples with texts of their own, those that the beams found may be searched for the one nearest to these
    (``nearest``): sequence-level interpolation in the same paper. Captions may be chosen by an image-text model instead
    (``judge``), by the cosine of picture and caption, as CLIPScore has it (Hessel et al. 2021,
    https://arxiv.org/abs/2104.08718); this needs no texts.

    Args:
        run: the run's folder.
        data: another experiment file whose ``data`` is read.
        overrides: ``key=value`` strings that change the settings that the data come from.
        split: ``train``, ``val`` or ``test``; of ``train`` all sources are read, else the first.
        beams: 1 writes the best token each time; more search for a likelier text.
        max_tokens: the most that are written for a sample; ``None``: as many as the model was trained to read.
        output: a ``.jsonl`` file; ``None``: ``generated-<split>.jsonl`` in the run's folder.
        batch_size: samples at a time.
        nearest: ``bleu`` or ``chrf``, by which, of the beams' texts, the nearest to a sample's own is kept;
            ``None``, or where a sample has none: the likeliest.
        judge: the folder of a finished run whose model embeds texts and what is written about, such as pictures; of the
            beams' texts the one that it finds to fit best is kept. Sounds and clips are judged alike.
        allow: packages of your own that the run's configuration may build from.

    Raises:
        InputError: the model does not write, the data have no such split, the file exists, or there is nothing to
            choose from or by.
    """
    _check_split(split, SPLITS)
    here = Path(run)
    path = model_file(here)
    place = generation.free_path(here / f"generated-{split}.jsonl" if output is None else Path(output))
    settings = configuration.load(here / folder.CONFIG if data is None else data, overrides)
    on_cpu = settings.trainer.get("accelerator", "auto") == "cpu" or not torch.accelerator.is_available()
    device = None if on_cpu else torch.accelerator.current_accelerator()
    with quiet():
        choice = choice_by(nearest, judge, allow, device)
        model = load_model(path, allow=tuple(allow)).to(device)
        samples = generation.samples_of(
            targets.build(settings.data, allow=tuple(allow), path="data"), cast(Split, split)
        )
        return generation.write_table(model, samples, place, beams, max_tokens, batch_size, choice)


def cache(
    config: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    store: str | Path | None = None,
    dtype: str = "float16",
    formats: Mapping[str, str] | None = None,
    outputs: Sequence[str] = (),
    splits: Sequence[str] | None = None,
    batch_size: int = 64,
    shard_rows: int = 16384,
    allow: Sequence[str] = (),
) -> Written:
    """Let an experiment's teacher answer all views and captions of its data, and store what it says.

    ``{_target_: kdmm.teachers.Cached, store: stores/<name>}`` then stands where the teacher stood. A store that was
    interrupted goes on where it was. All processes write to one folder: several machines need a disk that they share.

    Args:
        config: an experiment's YAML file, or what one would hold. Of its trainer, the devices and precision count.
        overrides: ``key=value`` strings that change single settings.
        store: the folder; ``None``: as the experiment's own ``Cached`` names it, or ``stores/<name>``.
        dtype: how outputs are kept: ``float32``, ``float16``, ``bfloat16``, ``int8``; ``top<k>`` for all is for
            classifiers whose ``outputs`` are the logits alone.
        formats: by output, where one is kept in another way, such as ``{"logits": "top16"}``.
        outputs: what is kept of what the teacher says; none: all of it.
        splits: of the data; ``None``: train, and val if there is one.
        batch_size: pictures or sounds at a time, and eighths of the texts.
        shard_rows: answers of a file, about.
        allow: packages of your own that the configuration may build from.

    Raises:
        InputError: there is no running teacher, the folder holds another store, or an answer cannot be kept.
    """
    settings = configuration.load(config, overrides, tuple(allow))
    with quiet():
        teacher, data = caching.parts_of(settings, tuple(allow))
        chosen = [each for each in ASKED_IN_TRAINING if data.has(each)] if splits is None else splits
        how = caching.Settings(
            splits=tuple(chosen),
            formats={**(formats or {}), "": dtype},
            outputs=tuple(outputs),
            batch_size=batch_size,
            shard_rows=shard_rows,
            precision=str(settings.trainer.get("precision", "32-true")),
        )
        return caching.write(teacher, data, caching.folder_for(settings, store), how, settings.trainer)


def verify(
    config: str | Path | Mapping[str, Any],
    entries: int,
    overrides: Sequence[str] = (),
    *,
    store: str | Path | None = None,
    allow: Sequence[str] = (),
) -> list[Verified]:
    """Check that a store is whole and what an experiment's teacher says, and answer random entries again.

    Args:
        config: as for `cache`.
        entries: of each table that are answered again.
        overrides: ``key=value`` strings that change single settings.
        store: as for `cache`.
        allow: packages of your own that the configuration may build from.

    Raises:
        InputError: the store is damaged, or made from something else; the message names what differs.
    """
    settings = configuration.load(config, overrides, tuple(allow))
    with quiet():
        teacher, data = caching.parts_of(settings, tuple(allow))
        on_cpu = settings.trainer.get("accelerator", "auto") == "cpu" or not torch.accelerator.is_available()
        device = torch.device("cpu") if on_cpu else torch.accelerator.current_accelerator()
        return caching.verified(teacher, data, caching.folder_for(settings, store), entries, device)


def complete(config: str | Path, overrides: Sequence[str] = (), *, allow: Sequence[str] = ()) -> Run:
    """Bring one experiment to its end: trained, and measured on its test split if it has one. What is done stays done.

    For series of experiments: a script of such calls that was interrupted goes on where it was when it is run again.

    Args:
        config: an experiment's YAML file.
        overrides: ``key=value`` strings that change single settings.
        allow: packages of your own that the configuration may build from.

    Raises:
        InputError: a run of that name was begun or finished with other settings.
    """
    settings = configuration.load(config, overrides, tuple(allow))
    here = ROOT / settings.name
    begun = folder.begun(here, settings)
    if not (here / FILE_NAME).is_file():
        fit(config, overrides, resume=begun, allow=allow)
    tested = RunRecord.read(here).split == "test"
    if not tested and targets.build(settings.data, allow=tuple(allow), path="data").has("test"):
        evaluate(here, allow=allow)
    return Run(here)


def report(
    runs: Sequence[str | Path], output: str | Path | None = None, *, speed: bool = True, allow: Sequence[str] = ()
) -> Report:
    """Compare finished runs in one table.

    Args:
        runs: their folders.
        output: a Markdown file to write the table to.
        speed: measure how many samples a second one model of each experiment embeds, which takes some seconds.
        allow: packages of your own that the models are built from.
    """
    folders = [Path(run) for run in runs]
    table = Report.from_runs(folders)  # says what is wrong with the runs before anything is measured
    if speed:
        table = Report.from_runs(folders, measure_speed(folders, allow=tuple(allow)))
    if output is not None:
        Path(output).write_text(table.to_markdown() + "\n", encoding="utf-8")
    return table


def _check_split(split: str, accepted: Sequence[str]) -> None:
    if split not in accepted:
        raise InputError(f"split: found {split!r}; accepted: {', '.join(accepted)}.{nearest(split, accepted)}")
