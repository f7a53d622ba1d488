"""wandb that never asks and never waits: offline without a key, and offline when the server does not answer."""

from __future__ import annotations

import netrc
import os
import sys
from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

__all__ = ["Wandb", "has_key"]


class Wandb(WandbLogger):
    """Lightning's logger for wandb, with the run's name, id and folder.

    Args:
        project: the wandb project.
        entity: the wandb user or team; ``None`` takes the key's.
        offline: write to the run's folder only, for `wandb sync` later. ``None``: when there is no key, or
            ``WANDB_MODE`` says so.
        timeout_s: how long to wait for the server before going on offline.
        name: shown on the dashboard; a run sets its own.
        folder: a run sets its own.
    """

    def __init__(
        self,
        project: str = "kdmm",
        entity: str | None = None,
        offline: bool | None = None,
        timeout_s: float = 20.0,
        name: str | None = None,
        folder: str = ".",
    ) -> None:
        if offline is None:
            offline = os.environ.get("WANDB_MODE", "") in ("offline", "dryrun") or not has_key()
        super().__init__(
            name=name,
            save_dir=folder,
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


def has_key() -> bool:
    """Return whether wandb would find a key: in ``WANDB_API_KEY`` or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)
