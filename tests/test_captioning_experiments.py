"""The shipped captioning experiments, made small: real pictures, the real YAML files, every row of the series."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import kdmm
from kdmm import config
from kdmm.data import Emoji
from kdmm.metrics.functional.captions import cider_d

CAPTIONING = Path("experiments/captioning").resolve()
NAMES = {"_target_": "kdmm.data.Emoji", "groups": ["Food & Drink"]}


def small(role, *more):
    return [
        f"module.{role}.text.trained_on={json.dumps(NAMES)}",
        f"module.{role}.text.vocab_size=280",
        f"module.{role}.text.context_length=8",
        f"module.{role}.decoder.width=16",
        f"module.{role}.tower={{_target_: kdmm.models.ConvImage, widths: [4, 8], image_size: 16}}",
        "~module.metrics.judged",
        "data.views=1",
        "module.optimization.schedule.warmup_steps=1",
        "trainer.max_steps=3",
        *more,
    ]


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return kdmm.fit(CAPTIONING / "teacher.yaml", small("teacher", "data.batch_size=32", "module.teacher.freeze=false"))


def test_teacher_its_captions_and_its_students(teacher):
    done = kdmm.generate(teacher.dir, beams=2, max_tokens=5)
    source = Emoji(groups=["Food & Drink"])
    samples = {sample.id: sample for sample in source.samples("train")}
    rows = [json.loads(line) for line in done.path.read_text("utf-8").splitlines()]
    assert done.texts + done.empty == len(samples)
    assert all(row["image"] == samples[row["id"]].image.path for row in rows)
    model = teacher.model
    for row in rows[:3]:
        assert model.describe([samples[row["id"]].image.open()], 2, 5) == [row["target"]]
    student = kdmm.fit(
        CAPTIONING / "student.yaml",
        small("student", "data.batch_size={pairs: 4, taught: 8}", "trainer.log_every_n_steps=1"),
    )
    log = (student.dir / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/hard", "train/word"} <= set(log)
    assert student.metrics["val/teacher/cider_d"] == pytest.approx(teacher.metrics["val/cider_d"])
    found = kdmm.evaluate(student.dir)
    measured = source.samples("test")
    written = student.model.describe([sample.image.open() for sample in measured])
    values = cider_d(written, [sample.captions for sample in measured])
    assert found["test/cider_d"] == pytest.approx(sum(values) / len(values), abs=1e-6)


def test_the_student_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = kdmm.fit(CAPTIONING / "alone.yaml", small("student", "data.batch_size.pairs=4"))
    assert {"val/cider_d", "val/beam4/rouge_l"} <= run.metrics.keys()
    assert not any("teacher" in name for name in run.metrics)


def test_the_series_runs_each_row_once_with_its_own_captions_and_judge(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {}
    metrics = ("cider_d", "rouge_l", "beam4/cider_d", "own_caption/recall@5")

    def complete(path, overrides=(), *, allow=()):
        made = config.load(path, overrides, tuple(allow))
        settings[made.name] = made
        folder = Path("runs") / made.name
        folder.mkdir(parents=True)
        return SimpleNamespace(dir=folder, metrics={f"test/{name}": 0.5 for name in metrics})

    monkeypatch.setattr(kdmm, "complete", complete)
    monkeypatch.setattr(kdmm, "generate", lambda run: (Path(run) / "generated-train.jsonl").write_text(""))
    monkeypatch.setattr(sys, "argv", ["run.py", "--folds", "0", "2"])
    runpy.run_path(str(CAPTIONING / "run.py"), run_name="__main__")
    assert len(settings) == 2 * (1 + 8)
    for name, made in settings.items():
        if name.startswith("quickstart"):
            assert made.data["sources"]["pairs"]["fold"] == int(name[-1])
            continue
        fold = int(name[-1])
        student = "teacher-fold" not in name
        assert made.module["student" if student else "teacher"]["text"]["trained_on"]["fold"] == fold == made.seed
        assert made.module["metrics"]["judged"]["media"]["fold"] == fold
        assert made.module["metrics"]["judged"]["judge"]["run"] == f"runs/quickstart/teacher-fold{fold}"
        sources = made.data["sources"]
        assert ("taught" in sources) == ("sequence" in name or "interpolation" in name)
        if "taught" in sources:
            assert sources["taught"]["path"] == f"runs/captioning/teacher-fold{fold}/generated-train.jsonl"
            assert made.data["batch_size"] == ({"pairs": 8, "taught": 24} if "inter" in name else {"taught": 32})
        assert ("word" in made.module["objective"]["terms"]) == ("word" in name)
    assert "Names of training pictures drawn at random: cider_d " in capsys.readouterr().out
    assert Path("runs/captioning/tables.md").read_text().count("| alone |") == len(metrics)
