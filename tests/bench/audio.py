"""Sounds a second of the audio loader against those of the training step that they are for.

Both are those of ``experiments/audio/student.yaml``, its augmentation, gradient clipping and optimizer included. The
loader is alone while it is measured, and so is the step, in turns: above 1, one loader keeps up with the step. With
``workers: 0`` the two add up; with ``workers: 1`` they overlap and share the cores.

The teacher's answers are faked, by fixed random unit vectors of the right shape: nothing is looked up, and Lightning is
left out, whose share ``trainer`` shows. The files lie in a temporary folder, so they are in the system's cache; they
hold notes of at most a second at 44.1 kHz, which are decoded and resampled to the student's 16 kHz.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from torch import Tensor

from kdmm import config, targets
from kdmm.data import AudioTextDataModule, SoundFont
from kdmm.modules import DistillationModule
from tests.bench.device import DEVICE, mixed, now

EXPERIMENT = "experiments/audio/student.yaml"
ROUNDS, STEPS = 5, 2
FILES, FILE_RATE = 128, 44_100
EACH_TIME = {"views": None, "remember": False}


@dataclass
class Side:
    """A loader, opened once, so that its workers stay; and how many batches are timed in a turn."""

    data: AudioTextDataModule
    batches: int
    rates: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loader = self.data.train_dataloader()

    def turn(self, epoch: int) -> float:
        """Return sounds a second over the last batches of an epoch.

        The clock starts when one batch has come, with which a worker has begun the next one; after the last batch no
        worker goes on into the turn of another side.
        """
        self.data.position(epoch if self.data.views is None else 0, len(self.loader) - self.batches - 1)
        batches = iter(self.loader)
        next(batches)
        began = time.perf_counter()
        sounds = sum(len(batch["student"]["audio"]) for batch in batches)
        return sounds / (time.perf_counter() - began)


class Step:
    """The student's training step on fixed batches, with the settings of the experiment's trainer."""

    def __init__(self, module: DistillationModule, batches: list[dict[str, Any]], trainer: Mapping[str, Any]) -> None:
        self.module, self.batches, self.clip = module.train().to(DEVICE), batches, trainer["gradient_clip_val"]
        moved = [move_data_to_device(batch, DEVICE) for batch in batches]
        self.answers = [faked(module.student(batch["student"])) for batch in moved]
        module.objective.build(module.student(moved[0]["student"]), self.answers[0], moved[0])
        module.objective.to(DEVICE)
        configured = module.optimization.configure(module, trainer["max_steps"])
        self.optimizer, self.schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]

    def turn(self) -> float:
        """Return sounds a second."""
        began = now()
        for batch, teacher in zip(self.batches, self.answers, strict=True):
            batch = move_data_to_device(batch, DEVICE)
            with mixed():
                loss, _ = self.module.objective(self.module.student(batch["student"]), teacher, batch)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
            self.optimizer.step()
            self.schedule.step()
        return sum(len(batch["student"]["audio"]) for batch in self.batches) / (now() - began)


def faked(student: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a teacher's answer with the shapes and flags of the student's."""
    generator = torch.Generator().manual_seed(0)
    answer = {name: value.detach() for name, value in student.items()}
    for name in ("audio", "text"):
        rows = F.normalize(torch.randn(answer[name].shape, generator=generator), dim=1).to(DEVICE)
        answer[name] = rows * answer[f"present/{name}"][:, None]
    return answer


def notes() -> list[tuple[str, NDArray[np.float32]]]:
    """Return captions and sounds (T, 1) of many instruments."""
    found = SoundFont(seconds=1, rate=FILE_RATE).read("train")
    found = found[:: len(found) // FILES][:FILES]
    return [(note.captions[0], note.audio.open().samples.numpy().T) for note in found]


def written(folder: Path, form: str, sounds: list[tuple[str, NDArray[np.float32]]]) -> dict[str, Any]:
    """Write sounds as files and return their table as two sources, one with captions and one without."""
    table = folder / f"{form}.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["audio", "caption"])
        for n, (caption, samples) in enumerate(sounds):
            soundfile.write(folder / f"{n}.{form}", samples, FILE_RATE)  # 16 bits
            rows.writerow([f"{n}.{form}", caption])
    pairs = {"_target_": "kdmm.data.PairTable", "path": str(table), "image": None, "audio": "audio"}
    return {"pairs": pairs, "sounds": {**pairs, "caption": None}}


def main() -> None:
    warnings.simplefilter("ignore")
    tree = config.to_dict(config.load(EXPERIMENT))
    module = targets.build({**tree["module"], "teacher": {"_target_": "kdmm.teachers.Absent"}, "metrics": {}})
    with tempfile.TemporaryDirectory() as folder:
        sounds = notes()
        settings = {  # what differs from the experiment, and the batches of a turn
            "SoundFont, rendered": (EACH_TIME, 1),
            "SoundFont, remembered": ({}, 4),
            "WAV files": ({"sources": written(Path(folder), "wav", sounds), **EACH_TIME}, 1),
            "FLAC files": ({"sources": written(Path(folder), "flac", sounds), **EACH_TIME}, 1),
        }
        sides = {}
        for name, (changes, batches) in settings.items():
            for workers in (0, 1):
                data = targets.build({**tree["data"], **changes, "workers": workers})
                data.use(module.preprocess)
                sides[name, workers] = Side(data, batches)
        batches = [batch for batch, _ in zip(sides["SoundFont, remembered", 0].loader, range(STEPS), strict=False)]
        step = Step(module, batches, tree["trainer"])
        steps = []
        for n in range(ROUNDS + 1):
            rates = {name: side.turn(n) for name, side in sides.items()}
            rate = step.turn()
            if n:  # in the first round the workers start, and what is remembered is made
                steps.append(rate)
                for name, side in sides.items():
                    side.rates.append(rates[name])
        for side in sides.values():
            side.data.teardown("fit")
    print(f"{len(batches[0]['id'])} sounds a batch, {torch.get_num_threads()} threads; a worker has one")
    print(f"{'loader':24}{'workers':>8}{'sounds/s':>12}{'step sounds/s':>16}{'loader / step':>16}")
    for (name, workers), side in sides.items():
        found = sorted(ours / theirs for ours, theirs in zip(side.rates, steps, strict=True))
        print(
            f"{name:24}{workers:8}{statistics.median(side.rates):12.0f}{statistics.median(steps):16.0f}"
            f"{statistics.median(found):16.2f}  ({found[0]:.2f} to {found[-1]:.2f})"
        )
