"""Wrong input and failures of whole runs: one message, the right exit status, nothing half-written."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import kdmm
from kdmm import config as configuration
from kdmm import run
from kdmm.cli import main
from tests.hooks import ending
from tests.small_runs import experiment, folder_with_a_teacher

here = pytest.fixture(folder_with_a_teacher)


def fit(capsys, *words, tree=None):
    """Fit `small.yaml` and return the exit status and what was printed as an error."""
    Path("small.yaml").write_text(json.dumps(tree or experiment()))
    status = main(["fit", "small.yaml", *words])
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    return status, printed


def left():
    return {path.name for path in Path("runs").iterdir()} - {"teacher"}


def table(text, name="pairs.csv"):
    Path(name).write_text(text)
    tree = experiment()
    tree["data"] = {
        "_target_": "kdmm.data.ImageTextDataModule",
        "sources": {"_target_": "kdmm.data.PairTable", "path": name},
        "batch_size": 2,
        "views": 2,
    }
    return tree


TABLES = {
    "empty file": ("", "pairs.csv"),
    "zero rows": ("image,caption\n", "pairs.csv"),
    "wrong columns": ("picture,caption\na.png,one\n", "picture"),
    "ragged rows": ("image,caption\na.png,one\nb.png,two,three\n", "pairs.csv"),
    "one row too few for a batch": ("image,caption\na.png,one\n", "batch_size"),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES.keys())
def test_a_wrong_table_is_named_and_nothing_is_written(here, capsys, text, message):
    Image.new("RGB", (8, 8)).save("a.png")
    status, printed = fit(capsys, tree=table(text))
    assert status == 2, printed
    assert message in printed
    assert not left()


def test_a_missing_table_is_named(here, capsys):
    tree = table("")
    tree["data"]["sources"]["path"] = "pears.csv"
    status, printed = fit(capsys, tree=tree)
    assert (status, "pears.csv" in printed, left()) == (2, True, set())


@pytest.mark.parametrize(("content", "message"), [(b"", "empty"), (b"GIF89a", "image"), (None, "no such file")])
def test_an_unreadable_image_is_named_with_its_row(here, capsys, content, message):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40), "red").save(name)
    if content is None:
        Path("b.png").unlink()
    else:
        Path("b.png").write_bytes(content)
    status, printed = fit(capsys, tree=table("image,caption\na.png,one\nb.png,two\n"))
    assert status == 2, printed
    assert "pairs.csv" in printed
    assert "b.png" in printed
    assert message in printed
    assert not left()


def test_views_that_nobody_computed_are_named(here, capsys):
    status, printed = fit(capsys, "data.views=3", tree=experiment(precomputed=True))
    assert status == 2, printed
    assert "views: 2" in printed
    assert not list(Path("runs").glob("small/*.safetensors"))


def test_a_metric_that_is_not_logged_is_named(here, capsys):
    callbacks = {"best": {"_target_": "kdmm.callbacks.Checkpoints", "monitor": "val/recal@5"}}
    status, printed = fit(capsys, tree=experiment(callbacks=callbacks))
    assert status == 2, printed
    assert "val/recal@5" in printed
    assert "Did you mean 'val/recall@5'?" in printed
    assert not left()


def test_a_teacher_file_that_is_not_ours_is_named(here, capsys):
    Path("runs/other").mkdir()
    save_file({"weight": torch.zeros(2)}, "runs/other/teacher.safetensors")
    status, printed = fit(capsys, "module.teacher.run=runs/other")
    assert status == 2, printed
    assert "does not say which model" in printed
    assert left() == {"other"}


def test_resuming_what_never_was_and_overwriting_while_resuming(here, capsys):
    assert fit(capsys, "--resume")[0] == 2
    status, printed = fit(capsys, "--resume", "--overwrite")
    assert (status, "--overwrite" in printed, left()) == (2, True, set())


def test_a_damaged_checkpoint_is_named(here, capsys):
    kdmm.fit(experiment())
    last = Path("runs/small/checkpoints/last.ckpt")
    last.write_bytes(last.read_bytes()[:1000])
    status, printed = fit(capsys, "--resume")
    assert status == 2, printed
    assert "last.ckpt" in printed


def test_a_damaged_run_cannot_be_evaluated(here, capsys):
    assert main(["evaluate", "runs/nothing"]) == 2
    assert main(["evaluate", "runs/teacher"]) == 2
    assert "config.yaml" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_is_no_wrong_input(here, capsys):
    status, printed = fit(capsys, "module.optimization.optimizer.lr=1e30")
    assert status == 1
    assert "not finite at step" in printed
    assert "hard" in printed
    assert not list(Path("runs/small").glob("*.safetensors"))


WRITERS = {
    "model": (run, "save_model"),
    "summary": (Path, "write_text"),
    "configuration": (configuration, "save"),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_a_full_disk_ends_in_one_message(here, capsys, monkeypatch, writer):
    Path("small.yaml").write_text(json.dumps(experiment()))

    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the file")

    monkeypatch.setattr(*writer, full)
    assert main(["fit", "small.yaml"]) == 1
    printed = capsys.readouterr().err
    monkeypatch.undo()
    assert "the disk is full" in printed
    assert not list((here / "runs/small").glob("metrics.json*"))
    assert not list((here / "runs/small").glob("**/*.partial"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.parametrize("size", ["200k", "600k", "1400k", "1900k"])
def test_a_disk_that_is_really_full_leaves_no_half_written_file(here, capsys, size):
    disk = here / "runs"
    disk.rename(here / "kept")
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        status, printed = fit(capsys, "module.teacher.run=kept/teacher")
        found = sorted(path.name for path in disk.glob("**/*") if path.is_file())
        for path in disk.glob("**/*.ckpt"):
            torch.load(path, weights_only=True)  # whole, if it is there
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert status == 1, printed
    assert "the disk is full" in printed
    assert not {name for name in found if name.endswith((".partial", ".safetensors", ".json"))}, found


def test_an_interruption_ends_with_its_own_status(here, capsys):
    status, printed = fit(capsys, "--allow", "tests", tree=ending(experiment(), "train_batch_start", 1))
    assert status == 130, printed
    assert "--resume" in printed


def test_a_run_is_not_lost_to_an_overwrite_with_wrong_input(here, capsys):
    assert main(["fit", "small.yaml"]) == 2  # there is no file yet
    capsys.readouterr()
    kept = kdmm.fit(experiment())
    before = {path.name: path.read_bytes() for path in kept.dir.iterdir() if path.is_file()}
    too_long = "module.optimization.schedule={_target_: kdmm.modules.WarmupCosine, warmup_steps: 99}"
    status, printed = fit(capsys, "--overwrite", too_long)
    assert (status, "99 steps of warm-up" in printed, left()) == (2, True, {"small"}), printed
    assert {path.name: path.read_bytes() for path in kept.dir.iterdir() if path.is_file()} == before
    status, printed = fit(capsys, "--overwrite", "seed=5")
    assert (status, left()) == (0, {"small"}), printed
    assert (kept.dir / "metrics.json").read_bytes() != before["metrics.json"]
