"""A run's folder: who may write to it, making it, and leaving nothing half begun."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdmm import config as configuration
from kdmm.config import Config
from kdmm.errors import InputError

__all__ = ["CHECKPOINTS", "CONFIG", "begun", "claim", "opened"]

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
DECIDING = ("seed", "data", "module")
"""Settings that a run keeps to its end. Those of the trainer, such as its length, may change when it is resumed."""
LENGTHS = tuple(f"trainer.{key}" for key in ("max_epochs", "max_steps", "max_time", "limit_train_batches"))
"""Settings that a finished run had besides, if it is to be taken for one that was asked for."""
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Where launchers write a process's number; the first that is set counts, as for Lightning."""


def claim(folder: Path, settings: Config, resume: bool, overwrite: bool) -> Path | None:
    """Return the checkpoint to go on from, ``None`` to start anew; write nothing.

    Raises:
        InputError: the folder is in use, or holds no run to resume, or one with other settings.
    """
    if resume and overwrite:
        raise InputError("--resume goes on with a run and --overwrite replaces it: give one of the two.")
    if resume:
        _check_same(folder, settings)
        last = folder / CHECKPOINTS / "last.ckpt"
        return last if last.is_file() else None
    if _is_first_process() and folder.exists() and any(folder.iterdir()) and not overwrite:
        raise InputError(
            f"The run {folder} exists. Go on with it by --resume, replace it by --overwrite, or set another `name=`."
        )
    return None


def begun(folder: Path, settings: Config) -> bool:
    """Return whether a run of these settings was begun.

    Raises:
        InputError: one with other settings was.
    """
    if not (folder / CONFIG).is_file():
        return False
    _check_same(folder, settings, (*DECIDING, *LENGTHS))
    return True


@contextmanager
def opened(folder: Path, settings: Config, overwrite: bool) -> Iterator[None]:
    """Make a run's folder, now that everything in it could be built; what it replaces is set aside.

    It is taken away again if it cannot be made, or if the input turns out to be wrong before any state was saved in it.
    The run that it was to replace then stands where it stood; in any other case that one is gone on leaving.
    """
    if not _is_first_process():
        yield
        return
    replaced = folder.with_name(f"{folder.name}.replaced")
    if overwrite and folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        folder.rename(replaced)
    is_begun = False
    try:
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        configuration.save(settings, folder / CONFIG)
        is_begun = True
        yield
    except BaseException as error:
        if not is_begun or (isinstance(error, InputError) and not any((folder / CHECKPOINTS).iterdir())):
            shutil.rmtree(folder, ignore_errors=True)
            if replaced.exists():
                replaced.rename(folder)
        raise
    finally:
        shutil.rmtree(replaced, ignore_errors=True)


def _check_same(folder: Path, settings: Config, deciding: tuple[str, ...] = DECIDING) -> None:
    if not (folder / CONFIG).is_file():
        raise InputError(f"--resume: there is no run in {folder}. Start it without --resume.")
    changed = configuration.differences(configuration.load(folder / CONFIG, ()), settings)
    changed = [key for key in changed if any(f"{key}.".startswith(f"{each}.") for each in deciding)]
    if changed:
        raise InputError(
            f"The run {folder} was begun with other settings: {', '.join(changed)} differ from its {CONFIG}. Take "
            "those it was begun with, or another `name=`."
        )


def _is_first_process() -> bool:
    """Whether this is the process that writes, known before Lightning joins the processes together."""
    rank = next((os.environ[name] for name in RANKS if name in os.environ), "0")
    return int(rank) == 0 and int(os.environ.get("NODE_RANK", "0")) == 0
