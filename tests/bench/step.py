"""A training step with its parts changed one by one, in turns, against the same student without a teacher."""

from __future__ import annotations

import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import yaml

import kdmm
from kdmm import config, targets
from kdmm.callbacks import Compiled
from kdmm.models import save_model
from kdmm.runs.build import build
from kdmm.runs.quiet import quiet
from kdmm.runs.step_times import measure_steps
from tests.bench.device import CUDA, TRAINER, place
from tests.bench.trainer import ADAMW, OBJECTIVE, STUDENT, TEACHER

STEPS, ROUNDS, BATCH = 12, 3, 64
DATA = {
    "_target_": "kdmm.data.ImageTextDataModule",
    "sources": {"_target_": "kdmm.data.Emoji"},
    "batch_size": BATCH,
    "views": 2,
    "augment": [{"_target_": "torchvision.transforms.v2.RandomHorizontalFlip"}],
}
ALONE = "student alone"
EVERYTHING = ("student", "teacher", "objective")
Variants = dict[str, tuple[dict[str, Any], bool]]


def experiment(teacher: dict[str, Any] | None, fused: bool = False) -> dict[str, Any]:
    """Return an experiment, on a GPU in mixed precision; without a teacher its loss is the contrastive one."""
    terms = OBJECTIVE["terms"]
    module = {
        "_target_": "kdmm.modules.DistillationModule",
        "student": STUDENT,
        "teacher": teacher,
        "objective": OBJECTIVE,
        "optimization": {"_target_": "kdmm.modules.Optimization", "optimizer": {**ADAMW, "fused": fused}},
    }
    if teacher is None:
        del module["teacher"]
        module["_target_"] = "kdmm.modules.StudentModule"
        module["objective"] = {"_target_": "kdmm.losses.Objective", "terms": {"hard": terms["hard"]}}
    return {"name": "step", "data": DATA, "module": module, "trainer": {**TRAINER, "max_epochs": 1}}


def variants(folder: Path) -> Variants:
    """Return experiments, and whether all in them is compiled. The folder holds the teacher's run, and its store."""
    running = {"_target_": "kdmm.teachers.FromRun", "run": str(folder)}
    stored = {"_target_": "kdmm.teachers.Cached", "store": str(folder / "store")}
    found: Variants = {
        ALONE: (experiment(None), False),
        "alone, fused AdamW": (experiment(None, fused=True), False),
        "teacher stored": (experiment(stored), False),
        "teacher running": (experiment(running), False),
        "teacher running in bfloat16": (experiment({**running, "precision": "bfloat16"}), False),
    }
    if CUDA:  # on a CPU compiling takes minutes, far longer than the bench
        found |= {
            "alone, compiled": (experiment(None), True),
            "teacher stored, compiled": (experiment(stored), True),
            "teacher running, compiled": (experiment(running), True),
        }
    return found


def seconds(path: Path, callbacks: list[Any]) -> float:
    """Return what a step takes, the wait for its batch counted; setting up and the first steps do not count."""
    settings = config.load(path, [], ())
    with quiet():
        module, data = build(settings, ())
        times = measure_steps(settings, module, data, STEPS, (), callbacks)
    return (sum(times.took[times.warm_up :]) + sum(times.waited[times.warm_up :])) / STEPS


def main() -> None:
    warnings.simplefilter("ignore")
    print(place())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder / "teacher.safetensors", targets.build(TEACHER), TEACHER)
        trees = variants(folder)
        paths = {}
        for number, (variant, (tree, _)) in enumerate(trees.items()):
            paths[variant] = folder / f"{number}.yaml"
            paths[variant].write_text(yaml.safe_dump(tree), encoding="utf-8")
        with quiet():
            kdmm.cache(paths["teacher running"], store=folder / "store", dtype="float32")
        found: dict[str, list[float]] = {variant: [] for variant in trees}
        for _ in range(ROUNDS):
            for variant, (_, compiled) in trees.items():
                found[variant].append(seconds(paths[variant], [Compiled(EVERYTHING)] if compiled else []))
        for variant, times in found.items():
            ratios = sorted(alone / own for alone, own in zip(found[ALONE], times, strict=True))
            print(
                f"{variant}: {BATCH / statistics.median(times):.0f} samples/s; {statistics.median(ratios):.2f} of the "
                f"student's speed alone ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
