"""Runs whose terms read inner layers: of the student, of the teacher, of both."""

import pytest
import torch

import kdmm
from kdmm.models import DualEncoder
from tests.small_runs import STUDENT, experiment, folder_with_a_teacher, logged, same, weights

here = pytest.fixture(folder_with_a_teacher)

LAYER = "towers.image.trunk.blocks.0"


def tapped(name="small"):
    tree = experiment(name)
    tree["module"]["student"] = {"_target_": "kdmm.models.Tapped", "model": STUDENT, "taps": {"s": LAYER}}
    tree["module"]["teacher"]["taps"] = {"t": {"module": LAYER, "modality": "image"}}
    tree["module"]["objective"]["terms"]["layer"] = {"_target_": "kdmm.losses.Hint", "student": "s", "teacher": "t"}
    tree["module"]["objective"]["weights"]["layer"] = 100.0
    return tree


def test_a_student_is_saved_without_its_taps(here):
    before = weights(here / "runs/teacher")
    run = kdmm.fit(tapped())
    rows = [float(row["train/layer"]) for row in logged(run.dir) if row["train/layer"]]
    assert len(rows) == 9
    assert rows[-1] < rows[0]
    assert type(run.model) is DualEncoder
    assert not any(part._forward_hooks for part in run.model.modules())
    assert same(weights(here / "runs/teacher"), before)
    state = torch.load(run.dir / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert not any(name.startswith("teacher") for name in state)
    kept = {name.removeprefix("student.model."): x for name, x in state.items() if name.startswith("student.model.")}
    assert same(kept, weights(run.dir))
    found = kdmm.evaluate(run.dir)
    assert "test/recall@5" in found
    assert "val/recall@5" in kdmm.evaluate(run.dir, split="val")


def test_a_students_past_is_tapped_as_the_student_is(here):
    tree = tapped()
    tree["module"]["teacher"] = {"_target_": "kdmm.teachers.MovingAverage", "decay": 0.9}
    tree["module"]["objective"]["terms"]["layer"]["teacher"] = "s"
    run = kdmm.fit(tree)
    values = [float(row["train/layer"]) for row in logged(run.dir) if row["train/layer"]]
    assert len(values) == 9
    assert all(value > 0 for value in values[1:])
    assert type(run.model) is DualEncoder


def test_a_tap_alone_changes_nothing(here):
    plain = experiment("plain")
    untapped = kdmm.fit(plain)
    tree = tapped("tapped")
    del tree["module"]["objective"]["terms"]["layer"], tree["module"]["objective"]["weights"]["layer"]
    assert same(weights(kdmm.fit(tree).dir), weights(untapped.dir))


def test_a_term_that_reads_no_tap_is_named_before_anything_is_built(here):
    tree = tapped()
    tree["module"]["objective"]["terms"]["layer"]["student"] = "x"
    with pytest.raises(kdmm.errors.InputError, match=r"layer.*reads student\.x"):
        kdmm.fit(tree)
