"""Distillation by kdmm, teacher running and stored, beside open_clip's ``open_clip_train --distill-model``.

The same table of pictures, models, batch, precision, augmentation and machine; one process at a time. Each program runs
twice, for a few steps and for more: the difference of the two is the time of the steps between, without setting up.
The teacher is a ViT-B/32 and the student a tenth of its size, both with random weights: what a step costs does not
depend on them. What a text costs depends on its length: captions are emoji's names, and then texts of all CLIP's 77
tokens.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import yaml
from safetensors.torch import save_file

from kdmm.data import Emoji
from tests.bench.device import CUDA, DEVICE, TRAINER

BATCH, FEW, ROUNDS = 32, 2, 3
MORE = 34 if CUDA else 12  # a GPU is done sooner, and setting up takes as long
VIEWS = 1
PEAK = "gpu_peak.txt"
# Runs a module as a program, and writes the bytes of GPU memory that it needed at its peak.
WATCHED = f"""
import pathlib, runpy, sys, torch
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    pathlib.Path({PEAK!r}).write_text(str(torch.cuda.max_memory_allocated()))
"""
TEACHER = "ViT-B-32"
STUDENT = {  # 15 M parameters, ViT-B/32 has 151 M; two thirds are the table of tokens
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 9, "width": 192, "head_width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 192, "heads": 3, "layers": 3},
}
WORDS = 80  # in a long caption: more than there are tokens
STATISTICS = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
CROP = {
    "_target_": "torchvision.transforms.v2.RandomResizedCrop",
    "size": 224,
    "scale": [0.9, 1.0],  # open_clip's own augmentation
    "interpolation": 3,
}


def prepare(folder: Path, long: bool) -> None:
    """Write both models, the pictures and a table of as many rows as each number of steps has samples."""
    torch.manual_seed(0)
    torch.save(open_clip.create_model(TEACHER).state_dict(), folder / "teacher.pt")
    student = folder / "student"
    student.mkdir()
    settings = {"model_cfg": STUDENT, "preprocess_cfg": STATISTICS}
    (student / "open_clip_config.json").write_text(json.dumps(settings), encoding="utf-8")
    weights = open_clip.model.CLIP(**STUDENT).state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, student / "open_clip_model.safetensors")
    samples = Emoji().samples("train")[: BATCH * MORE]
    rows = []
    for sample in samples:
        path = folder / f"{sample.id}.png"
        sample.image.open().save(path)
        words = sample.captions[0].split()
        rows.append((str(path), " ".join(itertools.islice(itertools.cycle(words), WORDS if long else len(words)))))
    for steps in (FEW, MORE):
        with (folder / f"{steps}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("image", "caption"))
            writer.writerows(rows[: BATCH * steps])


def experiment(folder: Path, steps: int, teacher: dict[str, Any]) -> dict[str, Any]:
    """Return kdmm's experiment over a table."""
    return {
        "name": f"bench-{steps}",
        "data": {
            "_target_": "kdmm.data.ImageTextDataModule",
            "sources": {"_target_": "kdmm.data.PairTable", "path": str(folder / f"{steps}.csv")},
            "batch_size": BATCH,
            "views": VIEWS,
            "augment": [CROP],
        },
        "module": {
            "_target_": "kdmm.modules.DistillationModule",
            "student": {"_target_": "kdmm.models.OpenClip", "architecture": f"local-dir:{folder / 'student'}"},
            "teacher": teacher,
            "objective": {
                "_target_": "kdmm.losses.Objective",
                "terms": {
                    "hard": {"_target_": "kdmm.losses.Contrastive", "pair": ["image", "text"]},
                    "affinity": {"_target_": "kdmm.losses.Affinity", "pair": ["image", "text"]},
                },
            },
            "optimization": {
                "_target_": "kdmm.modules.Optimization",
                "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1e-4, "fused": True},
            },
            "metrics": {},
        },
        "trainer": {**TRAINER, "max_steps": steps, "enable_progress_bar": False, "limit_val_batches": 0},
    }


def running(folder: Path) -> dict[str, Any]:
    model = {"_target_": "kdmm.models.OpenClip", "architecture": TEACHER, "weights": str(folder / "teacher.pt")}
    return {"_target_": "kdmm.teachers.Frozen", "model": model}


def by_kdmm(folder: Path, name: str, teacher: dict[str, Any]) -> Callable[[int], list[str]]:
    """Return what is called to train a number of steps, given how the teacher answers."""

    def command(steps: int) -> list[str]:
        path = folder / f"{name}-{steps}.yaml"
        path.write_text(yaml.safe_dump(experiment(folder, steps, teacher)), encoding="utf-8")
        return called("kdmm", "fit", str(path), "--overwrite")

    return command


def by_open_clip(folder: Path) -> Callable[[int], list[str]]:
    """Return what is called to train a number of steps by open_clip."""

    def command(steps: int) -> list[str]:
        options = {
            "train-data": folder / f"{steps}.csv",
            "dataset-type": "csv",
            "csv-separator": ",",
            "csv-img-key": "image",
            "csv-caption-key": "caption",
            "model": f"local-dir:{folder / 'student'}",
            "distill-model": TEACHER,
            "distill-pretrained": folder / "teacher.pt",
            "batch-size": BATCH,
            "epochs": 1,
            "workers": 0,
            "precision": "amp_bf16" if CUDA else "fp32",
            "device": DEVICE.type,
            "lr": 1e-4,
            "warmup": 1,
            "logs": folder / "logs",
            "name": f"{steps}-{time.time_ns()}",
            "save-frequency": 0,
        }
        given = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        return called("open_clip_train.main", *given)

    return command


def called(module: str, *arguments: str) -> list[str]:
    """Return what is called to run a module, on a GPU by `WATCHED`."""
    return [sys.executable, *(["-c", WATCHED] if CUDA else ["-m"]), module, *arguments]


def run(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return the seconds that a program takes, and its peak memory, or the GPU's, in GiB."""
    log = folder / "log.txt"
    began = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text(errors='replace')[-4000:]}")
    if CUDA:
        return seconds, int((folder / PEAK).read_text()) / 2**30
    return seconds, used.ru_maxrss / 2**20  # Linux says KiB


def measure(command: Callable[[int], list[str]], folder: Path) -> tuple[float, float]:
    """Return samples a second and peak memory in GiB."""
    few, _ = run(command(FEW), folder)
    more, memory = run(command(MORE), folder)
    return BATCH * (MORE - FEW) / (more - few), memory


def stored(folder: Path, online: Callable[[int], list[str]]) -> Callable[[int], list[str]]:
    """Store the running teacher's answers, and return what is called to train by them."""
    for steps in (FEW, MORE):
        online(steps)
        path = folder / f"online-{steps}.yaml"
        run(called("kdmm", "cache", str(path), "--store", str(folder / f"store-{steps}")), folder)

    def cached(steps: int) -> list[str]:
        teacher = {"_target_": "kdmm.teachers.Cached", "store": str(folder / f"store-{steps}")}
        return by_kdmm(folder, "cached", teacher)(steps)

    return cached


def compare(long: bool) -> None:
    """Print how fast each program is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, long)
        online = by_kdmm(folder, "online", running(folder))
        cached = stored(folder, online)
        programs = {"open_clip_train": by_open_clip(folder), "kdmm, running": online, "kdmm, stored": cached}
        found: dict[str, list[tuple[float, float]]] = {program: [] for program in programs}
        for _ in range(ROUNDS):
            for program, command in programs.items():
                found[program].append(measure(command, folder))
        peer = [speed for speed, _ in found["open_clip_train"]]
        for program, values in found.items():
            speeds, memories = zip(*values, strict=True)
            ratios = sorted(own / theirs for own, theirs in zip(speeds, peer, strict=True))
            print(
                f"{program}: {statistics.median(speeds):.1f} samples/s, peak memory {max(memories):.2f} GiB; "
                f"{statistics.median(ratios):.2f} of open_clip_train's speed ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


def main() -> None:
    for captions, long in {"emoji's names": False, "captions of 77 tokens": True}.items():
        print(f"{captions}:", flush=True)
        compare(long)
