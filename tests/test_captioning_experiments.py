"""The shipped captioning experiments, made small: real pictures, the real YAML files, every row of the series."""

import csv
import json
from pathlib import Path

import pytest
import torch

import kdmm
from kdmm import config, targets
from kdmm.cli import main
from kdmm.data import Emoji
from kdmm.metrics.functional.captions import cider_d
from kdmm.models import embed_images, embed_texts, save_model
from kdmm.runs.series import Series
from tests.conftest import MINILM

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
    locked = ["module.features.views=1", "module.features.precision=float32"]
    return kdmm.fit(CAPTIONING / "teacher.yaml", small("teacher", "data.batch_size=32", *locked))


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


def test_a_judge_chooses_among_the_teachers_captions(teacher, capsys):
    torch.manual_seed(0)
    tree = {
        "_target_": "kdmm.models.DualEncoder",
        "image": {"_target_": "kdmm.models.ConvImage", "widths": [6], "image_size": 12},
        "text": {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 8},
        "embed_dim": 8,
    }
    Path("runs/judge").mkdir()
    save_model(Path("runs/judge/teacher.safetensors"), targets.build(tree), tree)
    judge = kdmm.load("runs/judge").eval()
    done = kdmm.generate(teacher.dir, judge="runs/judge", beams=3, max_tokens=5, split="val")
    assert done.path == teacher.dir / "generated-val.jsonl"
    samples = Emoji(groups=["Food & Drink"]).samples("val")
    assert done.texts + done.empty == len(samples)
    written = {row["id"]: row["target"] for row in map(json.loads, done.path.read_text("utf-8").splitlines())}
    for sample in samples[:4]:
        picture = sample.image.open()
        texts = [each for each in teacher.model.hypotheses(prepared(teacher.model, picture), 3, 5)[0] if each]
        fit = (embed_texts(judge, texts) @ embed_images(judge, [picture])[0]).tolist()
        assert written[sample.id] == texts[fit.index(max(fit))]
    for words, said in (
        (["--judge", "runs/judge"], "generated-val.jsonl exists"),
        (["--judge", "runs/judg", "--output", "a.jsonl"], "runs/judg does not exist"),
        (["--judge", "runs/judge", "--nearest", "bleu", "--output", "a.jsonl"], "Leave one out"),
        (["--judge", str(teacher.dir), "--output", "a.jsonl"], "judge: its model, Captioner,"),
    ):
        assert main(["generate", str(teacher.dir), "--split", "val", *words]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert not Path("a.jsonl").exists()


def prepared(model, picture):
    return model.preprocess.image(picture)[None]


def test_the_row_with_layers_follows_states_and_attention_of_a_teacher_trained_without_them(teacher):
    kdmm.generate(teacher.dir, beams=2, max_tokens=5)
    row = Series.read(CAPTIONING / "series.yaml").rows["pairs, sequence and word level, layers"]
    layers = [each for each in row.overrides if "<" not in each]
    assert len(layers) == 4
    sizes = ["data.batch_size={pairs: 4, taught: 8}", "trainer.log_every_n_steps=1", "~module.metrics.beam"]
    student = kdmm.fit(row.config, small("student", *sizes, *layers))
    with (student.dir / "metrics.csv").open() as file:
        logged = [line for line in csv.DictReader(file) if line["train/loss"]]
    parts = ("hard", "word", "states", "attention")
    for line in logged:
        values = [float(line[f"train/{part}"]) for part in parts]
        assert min(values) > 0
        assert float(line["train/loss"]) == pytest.approx(sum(values), rel=1e-5)


def test_the_student_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = kdmm.fit(CAPTIONING / "alone.yaml", small("student", "data.batch_size.pairs=4"))
    assert {"val/cider_d", "val/beam4/rouge_l"} <= run.metrics.keys()
    assert not any("teacher" in name for name in run.metrics)


def test_each_row_of_the_series_has_its_own_captions_and_judge():
    series = Series.read(CAPTIONING / "series.yaml")
    for name, row in series.rows.items():
        made = config.load(row.config, series.overrides(name, 2, Path("runs")), ())
        if name == "judge":
            assert made.data["sources"]["pairs"]["fold"] == 2
            continue
        text = made.module["teacher" if name == "teacher" else "student"]["text"]
        assert text["trained_on"]["measured"]["fold"] == made.seed == 2
        judged = made.module["metrics"]["judged"]
        assert judged["media"]["measured"]["fold"] == 2
        assert judged["judge"]["run"] == "runs/captioning/judge-fold2"
        if name != "teacher":
            sizes, sources = made.data["batch_size"], made.data["sources"]
            assert sum(sizes.values()) == 48
            assert sizes.keys() == sources.keys()
            assert ("taught" in sources) == ("sequence" in name)
            terms = made.module["objective"]["terms"]
            assert ("word" in terms) == ("word" in name)
            assert ({"states", "attention"} <= terms.keys()) == ("layers" in name)
            if "taught" in sources:
                written = "judged" if "judged" in name else "generated"
                assert sources["taught"]["path"] == f"runs/captioning/teacher-fold2/{written}-train.jsonl"
    assert series.tables("teacher", 2, Path("runs")) == {
        "generated-train.jsonl": {"beams": 4},
        "judged-train.jsonl": {"beams": 4, "judge": "runs/captioning/judge-fold2"},
    }
