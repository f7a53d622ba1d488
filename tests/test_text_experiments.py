"""The shipped text experiments, made small: another BERT and other texts, the real YAML files and rows of series."""

import json
from pathlib import Path

import pytest
import torch

import kdmm
from kdmm.runs.series import Series
from tests.models.tiny_bert import WORDS, write_tiny_bert
from tests.small_runs import logged

TEXT = Path("experiments/text").resolve()
ROWS = [{"text": f"the {a} film is {b}", "label": len(b) % 2} for a in WORDS for b in WORDS]
TABLE = "{_target_: kdmm.data.TextTable, path: reviews.jsonl, fractions: {val: 0.2, test: 0.2}}"
SHORT = ("module.optimization.schedule.warmup_steps=1", "trainer.max_steps=4", "trainer.log_every_n_steps=1")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_bert(tmp_path / "bert", layers=6)
    Path("reviews.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    Path("texts.txt").write_text("\n".join(f"a {row['text']} and so {row['text']}" for row in ROWS))


def run(series, row, *more, sources=("sentences", "texts")):
    """A row of fold 0 to its end."""
    plan = Series.read(TEXT / series)
    data = {"sentences": TABLE, "texts": "{_target_: kdmm.data.Texts, path: texts.txt}"}
    small = [f"data.sources.{name}={data[name]}" for name in sources]
    return kdmm.complete(plan.rows[row].config, [*plan.overrides(row, 0, Path("runs")), *small, *SHORT, *more])


def labelled(*more):
    return [f"data.sources.sentences.source={TABLE}", "data.sources.sentences.label=label", *more]


def tower(run):
    return {name: each for name, each in run.model.state_dict().items() if name.startswith("tower.")}


@pytest.mark.slow
def test_tiny_bert_begins_its_second_stage_where_the_general_one_ended(here):
    label = "module.objective.terms.hard.label=label"
    run("series.yaml", "teacher", f"data.sources={TABLE}", label, "module.teacher.tower.name=bert", sources=())
    size = ["width=8", "heads=4", "name=bert"]
    own = ["module.teacher.model.tower.name=bert", *(f"module.student.model.tower.{each}" for each in size)]
    general = run("series.yaml", "general stage", *own, sources=["texts"])
    assert general.record.steps == 4
    found = [float(row["train/attention"]) for row in logged(general.dir)]
    assert len(found) == 4
    assert found[-1] < found[0]
    nested = [f"module.student.model.model.tower.{each}" for each in size]
    still = ["module.optimization.optimizer.lr=0.0", "module.optimization.optimizer.weight_decay=0.0"]
    second = run("series.yaml", "TinyBERT, both stages", *labelled(*nested, *still), sources=["texts"])
    assert "test/top1" in second.metrics
    inherited = tower(general)
    assert len(inherited) > 30
    for name, each in tower(second).items():
        assert torch.equal(each, inherited[name]), name


def test_hidden_words_are_distilled_by_three_losses(here):
    texts = [f"data.sources.sentences={TABLE}", "data.sources.texts={_target_: kdmm.data.Texts, path: texts.txt}"]
    alone = "data={sources: {_drop_: [sentences]}, batch_size: {_drop_: [sentences]}}"
    teacher = kdmm.complete(TEXT / "masked_teacher.yaml", [texts[1], alone, *SHORT, "module.teacher.tower.name=bert"])
    assert teacher.metrics == {}  # texts alone: there is nothing to measure on
    own = [
        "module.student.model.model.tower.name=bert",
        "trainer.max_steps=12",
        "module.optimization.optimizer.lr=0.005",
    ]
    run = kdmm.complete(TEXT / "masked.yaml", [*texts, *SHORT, *own])
    rows = [row for row in logged(run.dir) if row["train/loss"]]
    assert len(rows) == 12
    for row in rows:
        soft, hard, states = (float(row[f"train/{name}"]) for name in ("soft", "hard", "states"))
        assert float(row["train/loss"]) == pytest.approx(5 * soft + 2 * hard + states, rel=1e-4)
    first, last = (sum(float(row["train/loss"]) for row in some) for some in (rows[:3], rows[-3:]))
    assert last < 0.9 * first
    assert {"test/top1", "test/cross_entropy", "test/teacher/top1", "test/retention/top1"} <= run.metrics.keys()
    before = dict(run.metrics)
    assert kdmm.evaluate(run.dir).items() <= before.items()  # the same gaps again
    assert len(run.model.tower.trunk.encoder.layer) == 3
    assert teacher.record.steps == 4
