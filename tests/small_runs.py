"""A small experiment on real data, for tests of whole runs."""

import csv
from pathlib import Path

import torch

import kdmm
from kdmm.models import BagOfTokens, DualEncoder, TimmImage, save_model
from tests.conftest import MINILM

STUDENT = {
    "_target_": "kdmm.models.DualEncoder",
    "image": {"_target_": "kdmm.models.TimmImage", "name": "tf_efficientnet_lite0", "image_size": 32, "stages": 1},
    "text": {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 4},
    "embed_dim": 8,
    "dropout": 0.2,
}
EMOJI = {"_target_": "kdmm.data.Emoji", "groups": ["Food & Drink", "Activities"]}
STEPS = 9  # three epochs of three


def folder_with_a_teacher(tmp_path, monkeypatch):
    """A working folder with a finished teacher run; a fixture of the test files."""
    monkeypatch.chdir(tmp_path)
    teacher = tmp_path / "runs" / "teacher"
    teacher.mkdir(parents=True)
    torch.manual_seed(1)
    model = DualEncoder(TimmImage("tf_efficientnet_lite0", 32, stages=1), BagOfTokens(MINILM, 4), 8)
    save_model(teacher / "teacher.safetensors", model, {**STUDENT, "dropout": 0.0})
    return tmp_path


def experiment(name="small", precomputed=False, **changes):
    teacher = {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher"}
    if precomputed:
        teacher = {"_target_": "kdmm.teachers.Precomputed", "teacher": teacher, "views": 2}
    flip = {"_target_": "torchvision.transforms.v2.RandomHorizontalFlip"}
    adamw = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.003}
    tree = {
        "name": name,
        "data": {
            "_target_": "kdmm.data.ImageTextDataModule",
            "sources": EMOJI,
            "batch_size": 40,
            "views": 2,
            "augment": [flip],
        },
        "module": {
            "_target_": "kdmm.modules.DistillationModule",
            "student": STUDENT,
            "teacher": teacher,
            "objective": {
                "_target_": "kdmm.losses.Objective",
                "terms": {
                    "hard": {"_target_": "kdmm.losses.Contrastive", "pair": ["image", "text"]},
                    "image": {"_target_": "kdmm.losses.FeatureMatch", "student": "image", "teacher": "image"},
                },
                "weights": {"hard": 1.0, "image": 10.0},
            },
            "optimization": {"_target_": "kdmm.modules.Optimization", "optimizer": adamw},
        },
        "trainer": {"accelerator": "cpu", "max_epochs": 3, "limit_train_batches": 3, "log_every_n_steps": 1},
    }
    return {**tree, **changes}


def weights(folder):
    return kdmm.load(folder).state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def logged(folder):
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
