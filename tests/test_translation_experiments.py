"""The shipped translation experiments, made small: real names, the real YAML files, every row of the series."""

import json
from itertools import product
from pathlib import Path

import pytest

import kdmm
from kdmm import config
from kdmm.data import EmojiNames
from kdmm.errors import InputError
from kdmm.runs.series import Series

TRANSLATION = Path("experiments/translation").resolve()
NAMES = {"_target_": "kdmm.data.EmojiNames", "source": "es", "target": "pt", "groups": ["Food & Drink"]}


def small(role, *more):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    return [
        *(f"module.{role}.network.{name}={size}" for name, size in sizes.items()),
        f"module.{role}.source.trained_on={json.dumps(NAMES)}",
        f"~module.{role}.source.trained_on.exclude",
        f"module.{role}.source.vocab_size=300",
        f"module.{role}.source.context_length=12",
        f"module.{role}.network.scale_embedding=false",  # with the next one three steps' models write something
        f"module.{role}.network.init_std=0.02",
        "module.optimization.schedule.warmup_steps=1",
        "trainer.max_steps=3",
        "trainer.check_val_every_n_epoch=1",
        *more,
    ]


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return kdmm.fit(TRANSLATION / "teacher.yaml", small("teacher", "data.batch_size=32"))


def test_teacher_its_texts_and_its_students(teacher):
    done = kdmm.generate(teacher.dir, beams=2, max_tokens=5)
    source = EmojiNames("es", "pt", groups=["Food & Drink"])
    rows = [json.loads(line) for line in done.path.read_text("utf-8").splitlines()]
    samples = {sample.id: sample for sample in source.samples("train")}
    assert done.path == teacher.dir / "generated-train.jsonl"
    assert done.texts + done.empty == len(samples)
    assert all(row["source"] == samples[row["id"]].source for row in rows)
    assert all(row["group"] == samples[row["id"]].group for row in rows)
    model = teacher.model
    for row in rows[:5]:
        assert model.translate([row["source"]], 2, 5) == [row["target"]]
    with pytest.raises(
        InputError, match=r"generated-train.jsonl exists. Remove it, or give another file with --output"
    ):
        kdmm.generate(teacher.dir)
    few = Series.read(TRANSLATION / "series.yaml").rows["teacher"].generate["nearest-train.jsonl"]
    near = kdmm.generate(teacher.dir, output="near.jsonl", max_tokens=5, **few)
    assert near.texts + near.empty == len(samples)  # those without a translation are written about, too
    student = kdmm.fit(
        TRANSLATION / "student.yaml",
        small("student", "data.batch_size={pairs: 4, taught: 8}", "trainer.log_every_n_steps=1"),
    )
    assert {"val/chrf", "val/bleu", "val/beam4/chrf", "val/teacher/chrf"} <= student.metrics.keys()
    assert student.metrics["val/teacher/chrf"] == pytest.approx(teacher.metrics["val/chrf"])
    log = (student.dir / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/hard", "train/word"} <= set(log)
    found = kdmm.evaluate(student.dir)
    written = student.model.translate([sample.source for sample in source.samples("test")])
    assert found["test/chrf"] == pytest.approx(
        _chrf(written, [sample.captions[0] for sample in source.samples("test")])
    )
    again = kdmm.generate(student.dir, split="val", beams=1, output="val.jsonl")
    assert again.texts + again.empty == len(source.samples("val"))


def _chrf(written, references):
    import sacrebleu

    return sacrebleu.corpus_chrf(written, [references]).score / 100


def test_what_cannot_be_generated_from_is_named(teacher):
    with pytest.raises(InputError, match=r"split: found 'tran'; accepted: train, val, test. Did you mean 'train'"):
        kdmm.generate(teacher.dir, split="tran")
    with pytest.raises(InputError, match="There is no run 'runs/no'"):
        kdmm.generate("runs/no")
    with pytest.raises(InputError, match=r"generate.max_tokens: 65 given, but the model has positions for 64"):
        kdmm.generate(teacher.dir, max_tokens=65)
    with pytest.raises(InputError, match=r"generate.beams: 0 given"):
        kdmm.generate(teacher.dir, beams=0)
    assert not list(teacher.dir.glob("generated*"))


def test_the_student_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = kdmm.fit(TRANSLATION / "alone.yaml", small("student", "data.batch_size.pairs=4"))
    assert {"val/chrf", "val/beam4/bleu"} <= run.metrics.keys()
    assert not any("teacher" in name for name in run.metrics)


def test_rows_of_the_series_differ_in_texts_and_terms_and_all_read_their_own_fold():
    series = Series.read(TRANSLATION / "series.yaml")
    assert len(series.rows) == 11
    tables = series.rows["teacher"].generate
    for row, fold in product(series.rows, (0, 2)):
        made = config.load(series.rows[row].config, series.overrides(row, fold, Path("runs")))
        role = "teacher" if row == "teacher" else "student"
        assert made.module[role]["source"]["trained_on"]["fold"] == fold == made.seed
        sources = made.data["sources"]
        assert ("taught" in sources) == ("sequence" in row)
        if "taught" in sources:
            folder, table = sources["taught"]["path"].rsplit("/", 1)
            assert folder == f"runs/translation/teacher-fold{fold}"
            assert (tables[table].get("nearest") == "bleu") == ("interpolation" in row)
            assert (table == "nearest-every-train.jsonl") == ("every" in row)
            assert made.data["batch_size"] == ({"pairs": 16, "taught": 48} if "pairs" in row else {"taught": 64})
        assert ("word" in made.module["objective"]["terms"]) == ("word" in row)
