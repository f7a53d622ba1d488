"""What users of stores meet on the command line: whole runs, and what they are told where something is wrong."""

import shutil
from pathlib import Path

import pytest
import torch

from kdmm.cli import main
from kdmm.config import load, save
from kdmm.models import BagOfTokens, ConvImage, DualEncoder, save_model
from tests.conftest import MINILM
from tests.small_runs import logged
from tests.teachers.cache.small import write_table

MODEL = {
    "_target_": "kdmm.models.DualEncoder",
    "image": {"_target_": "kdmm.models.ConvImage", "widths": [4], "image_size": 8},
    "text": {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 4},
    "embed_dim": 5,
}
HARD = {"_target_": "kdmm.losses.Contrastive", "pair": ["image", "text"]}
IMAGE = {"_target_": "kdmm.losses.FeatureMatch", "student": "image", "teacher": "image"}
AFFINITY = {"_target_": "kdmm.losses.Affinity", "pair": ["image", "text"], "teacher_temperature": 0.1}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a table of pictures and two finished runs."""
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "data")
    for seed, name in enumerate(("a", "b")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        torch.manual_seed(seed)
        model = DualEncoder(ConvImage([4], 8), BagOfTokens(MINILM, 4), 5)
        save_model(tmp_path / "runs" / name / "teacher.safetensors", model, MODEL)
    return tmp_path


def from_run(name="a"):
    return {"_target_": "kdmm.teachers.FromRun", "run": f"runs/{name}"}


def both(**recipe):
    return {"_target_": "kdmm.teachers.Ensemble", "teachers": {"a": from_run("a"), "b": from_run("b")}, **recipe}


def stored(**settings):
    return {"_target_": "kdmm.teachers.Cached", "store": "store", **settings}


def written(name, teacher, views=2, **terms):
    """Write an experiment's YAML; return its path."""
    source = {"_target_": "kdmm.data.PairTable", "path": "data/table.csv", "split": "split", "id": "id"}
    adamw = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.003}
    module = {
        "_target_": "kdmm.modules.DistillationModule",
        "student": MODEL,
        "teacher": teacher,
        "objective": {"_target_": "kdmm.losses.Objective", "terms": {"hard": HARD, **(terms or {"image": IMAGE})}},
        "optimization": {"_target_": "kdmm.modules.Optimization", "optimizer": adamw},
        "metrics": {},
    }
    data = {"_target_": "kdmm.data.ImageTextDataModule", "sources": source, "batch_size": 4, "views": views}
    trainer = {"accelerator": "cpu", "max_epochs": 1, "log_every_n_steps": 1, "enable_progress_bar": False}
    path = Path(f"{name}.yaml")
    save(load({"name": name, "data": data, "module": module, "trainer": trainer}, ()), path)
    return str(path)


def cache(*options, teacher=None, views=2):
    path = written("store", from_run() if teacher is None else teacher, views)
    assert main(["cache", path, "--store", "store", *options]) == 0


def losses(name):
    return [float(row["train/loss"]) for row in logged(Path("runs") / name) if row.get("train/loss")]


def test_the_recipe_of_the_ensemble_in_the_yaml_counts(here):
    cache("--dtype", "float32", teacher=both())
    recipe = {"weights": {"a": 9, "b": 1}, "temperatures": {"a": 3, "b": 1}}
    teachers = {"equal": both(), "online": both(**recipe), "read": stored(teacher=both(**recipe))}
    for name, teacher in teachers.items():
        assert main(["fit", written(name, teacher, image=IMAGE, affinity=AFFINITY)]) == 0
    assert losses("read") == pytest.approx(losses("online"), rel=1e-5)
    assert losses("read") != pytest.approx(losses("equal"), rel=1e-3)


def test_a_damaged_addition_is_mended_as_is_said(here, capsys):
    cache()
    whole = {path.name: path.read_bytes() for path in Path("store").iterdir()}
    path = written("run", stored(teacher=from_run(), fill="online"), views=3)
    assert main(["fit", path]) == 0
    added = Path("store/added-000")
    image = added / "teacher.image.train.00000.safetensors"
    content = image.read_bytes()
    told = f"Delete the folder {added}: the store is whole without it, and `fill: online` writes it again."
    for damaged in (content[:-8], content[:-1] + bytes([content[-1] ^ 1])):
        image.write_bytes(damaged)
        assert main(["fit", path, "--overwrite"]) == 2
        assert told in capsys.readouterr().err
    image.unlink()
    assert main(["fit", path, "--overwrite"]) == 2
    assert told in capsys.readouterr().err
    shutil.rmtree(added)
    assert {path.name: path.read_bytes() for path in Path("store").iterdir()} == whole
    assert main(["fit", path, "--overwrite"]) == 0
    assert image.read_bytes() == content


def test_an_output_that_the_store_does_not_keep_is_named(here, capsys):
    cache("--outputs", "image")
    assert main(["fit", written("run", stored(), affinity=AFFINITY)]) == 2
    told = capsys.readouterr().err
    assert "A term reads teacher.text, but the teacher gives only image, logit_scale, present/image." in told
    assert "write one that keeps it with `kdmm cache --outputs`" in told
    assert not Path("runs/run").exists()


@pytest.mark.parametrize(
    ("file", "bytes_kept"), [("teacher.image.train.00000", None), ("teacher.text.00000", -8), ("teacher.text.index", 0)]
)
def test_a_file_of_the_store_that_is_cut_off_or_gone(here, capsys, file, bytes_kept):
    cache()
    path = Path("store") / f"{file}.safetensors"
    content = path.read_bytes()
    if bytes_kept is None:
        path.unlink()
    else:
        path.write_bytes(content[:bytes_kept])
    run = written("run", stored())
    assert main(["fit", run]) == 2
    told = capsys.readouterr().err
    what = "is missing" if bytes_kept is None else f"is cut off or changed: it has {path.stat().st_size} bytes"
    assert f"{path} {what}" in told
    assert "run `kdmm cache` as before: it alone is written again." in told
    path.unlink(missing_ok=True)
    cache()
    assert path.read_bytes() == content
    assert main(["fit", run]) == 0


def test_more_views_than_stored_are_added_as_is_said(here, capsys):
    cache()
    assert main(["fit", written("run", stored(), views=4)]) == 2
    told = capsys.readouterr().err
    assert "`views: 4`, and the store store has 2" in told
    assert "`fill: online`" in told
    assert "new store" in told
    assert main(["fit", written("run", stored(teacher=from_run(), fill="online"), views=4)]) == 0


def test_what_a_format_loses_is_printed_to_six_digits(here, capsys):
    cache("--dtype", "int8")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("teacher.")]
    assert len(rows) == 2
    for row in rows:
        least = float(row.split("cosine_min ")[1].split(",")[0])
        assert 0.999 < least < 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "imag=int8"], "format: the teacher gives no 'imag', but image, text. Did you mean 'image'"),
        (["--outputs", "image", "--format", "text=int8"], "format: 'text' is not kept, but image."),
    ],
)
def test_options_that_say_nothing_are_refused(here, capsys, options, told):
    assert main(["cache", written("store", from_run()), "--store", "store", *options]) == 2
    assert told in capsys.readouterr().err


def test_what_verifies_takes_no_options_of_writing(here, capsys):
    cache()
    assert main(["cache", "verify", written("store", from_run()), "--store", "store", "--dtype", "int8"]) == 2
    said = capsys.readouterr().err
    assert "unknown option '--dtype' of `kdmm cache verify`; accepted: " in said
    assert "--entries" in said
    assert main(["cache", "verify", written("store", from_run()), "--store", "store", "--entries", "0"]) == 2
    assert "entries: 0 given; give at least 1." in capsys.readouterr().err
