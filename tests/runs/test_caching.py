"""``kdmm cache``, and runs whose teacher is read from what it wrote."""

import shutil
from pathlib import Path

import pytest
import torch

import kdmm
from kdmm import run
from kdmm.cli import main
from kdmm.config import load
from kdmm.errors import InputError, InterruptedRunError
from tests.hooks import ALLOW, ending
from tests.small_runs import experiment, folder_with_a_teacher, logged, same, weights

here = pytest.fixture(folder_with_a_teacher)
FROM_RUN = {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher"}
QUIETLY = {"enable_progress_bar": False}


def cached(name="cached", **settings):
    tree = experiment(name)
    tree["module"]["teacher"] = {"_target_": "kdmm.teachers.Cached", "store": "stores/small", **settings}
    tree["trainer"] |= QUIETLY
    return tree


def losses(found):
    return [float(row["train/loss"]) for row in logged(found.dir) if row.get("train/loss")]


def shortly(tree):
    tree["trainer"] |= {**QUIETLY, "max_epochs": 1}
    return tree


def test_a_run_on_a_store_is_the_run_with_the_teacher(here):
    tree = shortly(experiment())
    written = run.cache(tree, dtype="float32", batch_size=16, shard_rows=64)
    assert written.folder == Path("stores/small")
    assert [(each.output, each.format) for each in written.kept] == [
        ("teacher.image.image", "float32"),
        ("teacher.text.text", "float32"),
    ]
    assert all(each.lost["difference_max"] == 0 for each in written.kept)
    online = kdmm.fit(tree)
    Path("runs/teacher/teacher.safetensors").unlink()  # nothing of it is needed
    found = kdmm.fit(shortly(cached()))
    assert losses(found) == pytest.approx(losses(online), rel=1e-5)
    for name, x in weights(found.dir).items():
        torch.testing.assert_close(x, weights(online.dir)[name], atol=1e-4, rtol=1e-3)
    shutil.rmtree("stores")
    alone = kdmm.evaluate(found.dir)  # the student is measured alone, and without the store
    assert "test/image_to_text/recall@1" in alone
    assert not any("teacher" in name for name in alone)


@pytest.mark.slow
def test_a_run_on_a_store_is_resumed_measured_and_refused_as_others_are(here):
    run.cache({**experiment(), "name": "small"}, dtype="float32")
    whole = kdmm.fit(cached())
    with pytest.raises((InterruptedRunError, RuntimeError), match=r"stopped|crashed"):
        kdmm.fit(ending(cached("ended"), "train_batch_start", 4, "SIGTERM"), allow=ALLOW)
    assert same(weights(kdmm.fit(cached("ended"), resume=True).dir), weights(whole.dir))
    both = kdmm.fit(cached("with-teacher", teacher=FROM_RUN))
    assert same(weights(both.dir), weights(whole.dir))
    measured, alone = kdmm.evaluate(both.dir), kdmm.evaluate(whole.dir)
    assert "test/teacher/recall@5" in measured
    assert {name: x for name, x in measured.items() if name in alone} == pytest.approx(alone)
    other = cached("other")
    other["data"]["augment"] = []
    with pytest.raises(InputError, match=r"stores/small was not made for this: augmentation of image"):
        kdmm.fit(other)
    assert not Path("runs/other").exists()
    hybrid = cached("hybrid", teacher=FROM_RUN)
    hybrid["module"]["teacher"]["_target_"] = "kdmm.teachers.Hybrid"
    hybrid["data"]["augment"] = experiment()["data"]["augment"]
    assert losses(kdmm.fit(hybrid)) == pytest.approx(losses(whole), rel=1e-5)


def test_the_command_writes_and_verifies(here, capsys, monkeypatch):
    tree = Path("small.yaml")
    from kdmm.config import save

    save(load({**experiment(), "trainer": {"accelerator": "cpu", **QUIETLY}}, ()), tree)
    assert main(["cache", str(tree), "--store", "s", "--format", "text=int8", "--splits", "val"]) == 0
    printed = capsys.readouterr().out
    assert "teacher.image.image" in printed
    assert "int8" in printed
    assert printed.rstrip().splitlines()[-1].startswith("s (")
    assert main(["cache", "verify", str(tree), "--store", "s", "--entries", "5"]) == 0
    rows = {row[0]: row[1:] for row in map(str.split, capsys.readouterr().out.splitlines())}
    assert {name: row[:2] for name, row in rows.items()} == {
        "teacher.image.image": ["float16", "5"],
        "teacher.text.text": ["int8", "5"],
    }
    assert all(0.999 < float(quantile) <= 1 for row in rows.values() for quantile in row[2:6])
    monkeypatch.setattr("kdmm.teachers.cache.verifying.SLACK", -1)
    assert main(["cache", "verify", str(tree), "--store", "s", "--entries", "5"]) == 2
    printed = capsys.readouterr()
    assert "teacher.image.image" in printed.out  # the quantiles are printed all the same
    assert "does not hold what the teacher says now. Beyond what the format loses" in printed.err
    assert "teacher.image.image by " in printed.err
    assert main(["cache", str(tree), "--store", "s"]) == 2
    assert "was begun with something else" in capsys.readouterr().err
    assert main(["cache", str(tree), "--format", "text"]) == 2
    assert "give OUTPUT=FORMAT" in capsys.readouterr().err


def test_an_experiment_without_a_running_teacher_fills_no_store(here):
    tree = experiment()
    del tree["module"]["teacher"]
    tree["module"]["_target_"] = "kdmm.modules.StudentModule"
    tree["module"]["objective"]["terms"].pop("image")
    tree["module"]["objective"]["weights"].pop("image")
    with pytest.raises(InputError, match=r"module.teacher: there is none"):
        run.cache(tree)
    with pytest.raises(InputError, match=r"nothing runs that could fill one"):
        run.cache(cached())
