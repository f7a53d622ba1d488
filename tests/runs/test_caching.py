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


def test_a_run_on_a_store_is_the_run_with_the_teacher(here):
    tree = experiment()
    tree["trainer"] |= QUIETLY
    written = run.cache(tree, dtype="float32", batch_size=16, shard_rows=64)
    assert written.folder == Path("stores/small")
    assert [(each.output, each.format) for each in written.kept] == [
        ("teacher.image.image", "float32"),
        ("teacher.text.text", "float32"),
    ]
    assert all(each.lost["difference_max"] == 0 for each in written.kept)
    again = run.verify(tree, 10)
    assert all(each.quantiles[0] > 1 - 1e-6 for each in again)
    online = kdmm.fit(tree)
    teacher = Path("runs/teacher/teacher.safetensors")
    content = teacher.read_bytes()
    teacher.unlink()  # nothing of it is needed
    found = kdmm.fit(cached())
    assert losses(found) == pytest.approx(losses(online), rel=1e-5)
    for name, x in weights(found.dir).items():
        torch.testing.assert_close(x, weights(online.dir)[name], atol=1e-4, rtol=1e-3)
    with pytest.raises((InterruptedRunError, RuntimeError), match=r"stopped|crashed"):
        kdmm.fit(ending(cached("ended"), "train_batch_start", 4, "SIGTERM"), allow=ALLOW)
    resumed = kdmm.fit(cached("ended"), resume=True)
    assert same(weights(resumed.dir), weights(found.dir))
    shutil.move("stores", "elsewhere")
    alone = kdmm.evaluate(found.dir)  # the student is measured alone, without the store too
    assert "test/image_to_text/recall@1" in alone
    assert not any("teacher" in name for name in alone)
    shutil.move("elsewhere", "stores")
    teacher.write_bytes(content)
    both = kdmm.evaluate(kdmm.fit(cached("with-teacher", teacher=FROM_RUN)).dir)
    assert "test/teacher/recall@5" in both
    assert both["test/image_to_text/recall@1"] == pytest.approx(alone["test/image_to_text/recall@1"])
    other = cached("other")
    other["data"]["augment"] = []
    with pytest.raises(InputError, match=r"stores/small was not made for this: augmentation of image"):
        kdmm.fit(other)
    assert not Path("runs/other").exists()


def test_the_command_writes_and_verifies(here, capsys):
    tree = Path("small.yaml")
    from kdmm.config import save

    save(load({**experiment(), "trainer": {"accelerator": "cpu", **QUIETLY}}, ()), tree)
    assert main(["cache", str(tree), "--store", "s", "--format", "text=int8", "--splits", "val"]) == 0
    printed = capsys.readouterr().out
    assert "teacher.image.image" in printed
    assert "int8" in printed
    assert printed.rstrip().splitlines()[-1].startswith("s (")
    assert main(["cache", str(tree), "--store", "s", "--verify", "5"]) == 0
    printed = capsys.readouterr().out
    assert "cosine" in printed
    assert "0.99" in printed or "1.000000" in printed
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
