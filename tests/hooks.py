"""Callbacks that a test names in YAML to end its run or to look at it; to be fitted with ``allow=ALLOW``."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch

ALLOW = ("tests",)
THREADS = str(torch.get_num_threads())  # more add in another order, and runs are compared to the bit


class End(pl.Callback):
    """Ends the run in one hook after some steps, as a person, a scheduler or a fault would.

    Args:
        hook: the hook's name without ``on_``.
        step: optimizer steps taken.
        how: the name of a signal that this process is sent, or ``crash``.
    """

    def __init__(self, hook: str, step: int, how: str = "SIGTERM") -> None:
        self.hook = hook
        self.step = step
        self.how = how

    def _end(self, hook, trainer):
        if hook == self.hook and trainer.global_step == self.step:
            if self.how == "crash":
                raise RuntimeError("crashed")
            os.kill(os.getpid(), signal.Signals[self.how])

    def on_train_batch_start(self, trainer, *rest):
        self._end("train_batch_start", trainer)

    def on_validation_start(self, trainer, *rest):
        self._end("validation_start", trainer)

    def on_validation_batch_end(self, trainer, *rest):
        self._end("validation_batch_end", trainer)

    def on_validation_end(self, trainer, *rest):
        self._end("validation_end", trainer)

    def on_train_epoch_end(self, trainer, *rest):
        self._end("train_epoch_end", trainer)

    def on_train_end(self, trainer, *rest):
        self._end("train_end", trainer)


class Ids(pl.Callback):
    """Writes which samples each process trains and validates on, a line a batch.

    Args:
        folder: where to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def _write(self, stage, trainer, batch):
        with (self.folder / f"{stage}-{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": trainer.current_epoch, "ids": batch["id"]}) + "\n")

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._write("train", trainer, batch)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self._write("val", trainer, batch)


def command(*words):
    """Run a ``kdmm`` command that may name this file, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "kdmm", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        # as many threads as here: sums are taken in another order by more, and results are compared to the bit
        env={
            **os.environ,
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
    )


def ending(tree, hook, step, how="SIGTERM"):
    """Return an experiment that ends early."""
    end = {"_target_": "tests.hooks.End", "hook": hook, "step": step, "how": how}
    return {**tree, "callbacks": {**tree.get("callbacks", {}), "end": end}}
