"""Runs of detectors: torchvision's and a user's own, with marks of a part of the pictures."""

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

import kdmm
from kdmm.cli import main
from kdmm.models import TorchvisionDetector
from tests.contributing import shown
from tests.data.pictures import voc
from tests.small_runs import logged

pytest.importorskip("pycocotools")

SIDE = 32
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
ADAMW = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.003}
OWN = {"_target_": "kdmm.losses.OwnLoss"}
FPN = "detector.backbone.fpn.layer_blocks.0"


def drawn(folder, count, first=0):
    """Pictures of one or two coloured rectangles, and one of none, in VOC's form."""
    names = []
    for n in range(first, first + count):
        generator = torch.Generator().manual_seed(n)
        image, objects = Image.new("RGB", (SIDE, SIDE), (90, 90, 90)), []
        for k in range(0 if n % 6 == 5 else 1 + n % 2):
            x, y = torch.randint(1, 10, (2,), generator=generator).tolist()
            wide, high = torch.randint(8, 14, (2,), generator=generator).tolist()
            x, y = x + (8 * k), y + (8 * k)
            name = list(COLOURS)[(n + k) % 2]
            image.paste(COLOURS[name], (x, y, x + wide, y + high))
            objects.append((name, (x, y, x + wide, y + high), ""))
        names.append(f"p{n}")
        voc(folder, names[-1], objects, (SIDE, SIDE), None)
        image.save(folder / f"{names[-1]}.png")
    return names


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "packages"))
    for split, first, count in (("train", 0, 12), ("val", 12, 6), ("test", 18, 6)):
        Path(f"{split}.txt").write_text("\n".join(drawn(tmp_path / "voc", count, first)))
    return tmp_path


def tree(name, module, teacher=None, steps=6, marked=0.5, terms=None, weights=None):
    role = "student" if teacher else "teacher"
    voc_tree = {
        "_target_": "kdmm.data.PascalVOC",
        "annotations": "voc",
        "lists": {split: f"{split}.txt" for split in ("train", "val", "test")},
        "first_pixel": 0,
    }
    names = {"_target_": "kdmm.data.ClassNames", "source": voc_tree, "label": "box_classes"}
    metrics = {"map": {"_target_": "kdmm.metrics.MeanAveragePrecision", "class_names": names}}
    if teacher:
        metrics["teacher"] = {"_target_": "kdmm.metrics.MeanAveragePrecision", "role": "teacher"}
    return {
        "name": name,
        "data": {
            "_target_": "kdmm.data.ImageTextDataModule",
            "sources": {"_target_": "kdmm.data.Marked", "source": voc_tree, "fraction": marked},
            "batch_size": 4,
            "canvas": [SIDE, SIDE],
            "augment": [{"_target_": "torchvision.transforms.v2.RandomHorizontalFlip"}],
        },
        "module": {
            "_target_": f"kdmm.modules.{'DistillationModule' if teacher else 'TeacherModule'}",
            role: module,
            **({"teacher": teacher} if teacher else {}),
            "objective": {
                "_target_": "kdmm.losses.Objective",
                "terms": {"hard": OWN, **(terms or {})},
                **({"weights": {"hard": 1.0, **weights}} if weights else {}),
            },
            "optimization": {"_target_": "kdmm.modules.Optimization", "optimizer": ADAMW},
            "metrics": metrics,
        },
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": -1,
            "max_steps": steps,
            "log_every_n_steps": 1,
            "check_val_every_n_epoch": 1000,  # at the end alone
        },
    }


def detector(width, name="fcos", image_size=SIDE):
    backbone = {"_target_": "kdmm.models.TimmPyramid", "name": "test_efficientnet", "width": width, "stages": [2, 3]}
    return {
        "_target_": "kdmm.models.TorchvisionDetector",
        "name": name,
        "classes": 2,
        "image_size": image_size,
        "backbone": backbone,
    }


def tapped(model, **taps):
    return {"_target_": "kdmm.models.Tapped", "model": model, "taps": taps}


def values(run, name):
    return [float(row[name]) for row in logged(run.dir) if row.get(name)]


def test_a_small_detector_learns_of_a_larger_one_by_its_pyramid_and_its_anchors(here):
    kdmm.fit(tree("teacher", detector(64), marked=1.0))
    teacher = {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher", "taps": {"p0": FPN}}
    run = kdmm.fit(
        tree(
            "student",
            tapped(detector(32), p0=FPN),
            teacher,
            terms={
                "fgd": {"_target_": "kdmm.losses.FGD", "student": "p0", "teacher": "p0", "least_score": 0.1},
                "pkd": {"_target_": "kdmm.losses.PKD", "student": "p0", "teacher": "p0"},
                "cwd": {"_target_": "kdmm.losses.CWD", "student": "p0", "teacher": "p0", "temperature": 1},
                "mgd": {"_target_": "kdmm.losses.MGD", "student": "p0", "teacher": "p0"},
                "anchors": {"_target_": "kdmm.losses.AnchorKD"},
            },
            weights={"fgd": 1.0, "pkd": 1.0, "cwd": 1.0, "mgd": 1.0, "anchors": 1.0},
        )
    )
    for term in ("hard", "fgd", "pkd", "cwd", "mgd", "anchors"):
        found = values(run, f"train/{term}")
        assert len(found) == 6
        assert all(value >= 0 and math.isfinite(value) for value in found)
        assert max(found) > 0, term
    assert run.metrics["val/loss"] > 0
    assert type(run.model) is TorchvisionDetector
    found = kdmm.evaluate(run.dir)
    for name in ("test/map", "test/map_50", "test/ap/red", "test/ap/blue", "test/teacher/map"):
        assert 0 <= found[name] <= 1


def test_a_student_with_other_anchors_that_reads_smaller_pictures_is_matched(here):
    kdmm.fit(tree("teacher", detector(32, "retinanet"), steps=2))
    run = kdmm.fit(
        tree(
            "student",
            detector(32, "fcos", 24),
            {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher"},
            steps=3,
            terms={"anchors": {"_target_": "kdmm.losses.AnchorKD"}},
        )
    )
    assert all(value > 0 for value in values(run, "train/anchors"))


def test_pictures_without_marks_teach_the_student_too(here):
    """With a teacher's term alone, and no loss of its own, the student comes to agree with the teacher."""
    kdmm.fit(tree("teacher", detector(32), marked=1.0, steps=10))
    setting = tree(
        "student",
        detector(32),
        {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher"},
        steps=30,
        terms={"anchors": {"_target_": "kdmm.losses.AnchorKD"}},
    )
    del setting["module"]["objective"]["terms"]["hard"], setting["data"]["augment"]
    setting["data"]["sources"] = {**setting["data"]["sources"], "fraction": 0.1, "keep": "unmarked"}
    found = values(kdmm.fit(setting), "train/anchors")
    assert sum(found[-5:]) < 0.7 * sum(found[:5])


def test_a_term_that_reads_what_a_two_stage_detector_does_not_give_is_named(here):
    setting = tree(
        "student",
        {**detector(32), "name": "fasterrcnn_resnet50_fpn", "backbone": None},
        {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher"},
        terms={"anchors": {"_target_": "kdmm.losses.AnchorKD"}},
    )
    with pytest.raises(kdmm.errors.InputError, match=r"anchors.*reads student\.anchor_boxes"):
        kdmm.fit(setting)


def test_a_detector_of_too_few_classes_ends_as_wrong_input(here, capsys):
    Path("one.yaml").write_text(json.dumps(tree("teacher", {**detector(32), "classes": 1}, marked=1.0)))
    assert main(["fit", "one.yaml"]) == 2
    assert "TorchvisionDetector.classes: 1 given" in capsys.readouterr().err


def test_broken_annotations_are_found_without_a_run_where_that_is_asked_for(here, capsys):
    Path("one.yaml").write_text(json.dumps(tree("teacher", detector(32))))
    assert main(["check", "one.yaml", "--data"]) == 0
    file = here / "voc" / "p13.xml"  # of the val split
    file.write_text(file.read_text().replace("<xmax>", "<xmax>9", 1))
    assert main(["check", "one.yaml"]) == 0
    capsys.readouterr()
    assert main(["check", "one.yaml", "--data"]) == 2
    assert "p13.xml: object 1" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_users_own_detector_teaches_and_learns_by_the_yaml_that_is_shown(here):
    own = {"_target_": "eyes.Spots", "classes": 2, "width": 32}
    kdmm.fit(tree("teacher", own, marked=1.0, steps=60), allow=("eyes",))
    run = kdmm.fit(shown("own/detector"), allow=("eyes",))
    for term in ("hard", "pkd", "anchors"):
        found = values(run, f"train/{term}")
        assert sum(found[-10:]) < sum(found[:10]), term
    found = kdmm.evaluate(run.dir, allow=("eyes",))
    assert found["test/teacher/map_50"] > 0.02
    assert type(kdmm.load(run.dir, allow=("eyes",))).__name__ == "Spots"
