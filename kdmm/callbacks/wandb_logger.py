"""wandb that never asks, never waits, and keeps everything of a run in the run's folder."""

from __future__ import annotations

import netrc
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from kdmm import atomic

__all__ = ["Wandb", "has_key"]

PLACES = {"WANDB_DATA_DIR": "staged", "WANDB_CACHE_DIR": "cache"}
"""Where wandb copies what it is to send, by default in the user's home: folders beside its files of the run."""


class Wandb(WandbLogger):
    """Lightning's logger for wandb: offline without a key, and offline when the server does not answer.

    In a run, the wandb run's id stands in ``wandb/id`` of the run's folder, so that a resumed run goes on in the same
    one, and what wandb copies to send it stays in that folder too, unless ``WANDB_DATA_DIR`` or ``WANDB_CACHE_DIR``
    name another.

    Args:
        project: the wandb project.
        entity: the wandb user or team; ``None`` takes the key's.
        offline: write to the run's folder only, for `wandb sync` later. ``None``: when there is no key, or
            ``WANDB_MODE`` says so.
        timeout_s: how long to wait for the server before going on offline.
        name: shown on the dashboard; a run sets its own.
        folder: a run sets its own; ``None``: wandb's files go to the current folder, and no id is kept.
    """

    def __init__(
        self,
        project: str = "kdmm",
        entity: str | None = None,
        offline: bool | None = None,
        timeout_s: float = 20.0,
        name: str | None = None,
        folder: str | None = None,
    ) -> None:
        if offline is None:
            offline = os.environ.get("WANDB_MODE", "") in ("offline", "dryrun") or not has_key()
        self._home = None if folder is None else (Path(folder) / "wandb").resolve()
        self._borrowed = [] if self._home is None else [name for name in PLACES if name not in os.environ]
        for variable in self._borrowed:
            os.environ[variable] = f"{self._home}/{PLACES[variable]}"  # wandb has no setting for it
        super().__init__(
            name=name,
            save_dir=folder or ".",
            id=None if self._home is None else _kept_id(self._home / "id"),
            project=project,
            entity=entity,
            offline=offline,
            settings=wandb.Settings(init_timeout=timeout_s, silent=True, console="off"),
        )
        self._wandb_init["mode"] = "offline" if offline else "online"

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run; offline if the server does not answer in time."""
        try:
            return super().experiment
        except (wandb.errors.CommError, wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
            if self._wandb_init["mode"] == "offline":
                raise
            reason = str(error).splitlines()[0]
            rank_zero_warn(
                f"wandb did not answer ({reason}); this run is logged offline. Send it later with `wandb sync`."
            )
            wandb.teardown()  # else wandb still holds the id of the run that it could not begin
            self._wandb_init["mode"] = "offline"
            return super().experiment

    def log_file(self, path: Path, name: str, kind: str) -> None:
        """Log a file as an artifact.

        Args:
            path: the file.
            name: of the artifact.
            kind: of the artifact, ``model`` for a model.
        """
        artifact = wandb.Artifact(name.replace("/", "-"), type=kind)
        artifact.add_file(str(path))
        self.experiment.log_artifact(artifact)

    @rank_zero_only
    def close(self) -> None:
        """End the wandb run, so that the next run of this process is one of its own."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=1 if sys.exc_info()[1] else 0)
            self._experiment = None
        for variable in self._borrowed:
            os.environ.pop(variable, None)
        self._borrowed = []


@rank_zero_only
def _kept_id(path: Path) -> str:
    """Return the wandb run's id from a file, which is written if it is not there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.writing(path) as partial:
            partial.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def has_key() -> bool:
    """Return whether wandb would find a key: in ``WANDB_API_KEY`` or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)
