"""Whole runs of text classifiers: other vocabularies, few labels, layers by layers."""

import json

import pytest
import torch

import kdmm
from kdmm import targets
from kdmm.data import MultimodalDataModule, TextTable
from kdmm.errors import InputError
from kdmm.models import Classifier, LstmText, TransformerText, save_model
from kdmm.models.named_tokens import transformers_tokenizer
from tests.models.tiny_bert import WORDS, write_tiny_bert
from tests.small_runs import logged

GOOD, BAD = (
    ("the film is good", "a good movie", "the plot was fine"),
    ("so bad and long", "a dull film", "dull and bad"),
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a table of reviews and a finished teacher, whose vocabulary is not the student's."""
    monkeypatch.chdir(tmp_path)
    write_tiny_bert(tmp_path / "teacher-bert")
    write_tiny_bert(tmp_path / "student-bert", layers=2, width=8, words=[*WORDS[::-1], "more"])
    texts = [(text, label) for label, some in ((1, GOOD), (0, BAD)) for text in some]
    rows = [{"text": f"{text} {word}", "label": label} for text, label in texts for word in WORDS]
    (tmp_path / "reviews.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tower = {"_target_": "kdmm.models.TransformerText", "name": "teacher-bert"}
    run = tmp_path / "runs" / "teacher"
    run.mkdir(parents=True)
    torch.manual_seed(1)
    model = Classifier(TransformerText("teacher-bert"), 2)
    save_model(run / "teacher.safetensors", model, {"_target_": "kdmm.models.Classifier", "tower": tower, "classes": 2})
    return tmp_path


def experiment(name, student, teacher, terms, weights=None):
    source = {"_target_": "kdmm.data.TextTable", "path": "reviews.jsonl", "fractions": {"val": 0.2, "test": 0.2}}
    return {
        "name": name,
        "data": {
            "_target_": "kdmm.data.MultimodalDataModule",
            "sources": {"_target_": "kdmm.data.Labelled", "source": source, "fraction": 0.2},
            "batch_size": 16,
        },
        "module": {
            "_target_": "kdmm.modules.DistillationModule",
            "student": student,
            "teacher": teacher,
            "objective": {"_target_": "kdmm.losses.Objective", "terms": terms, "weights": weights},
            "optimization": {
                "_target_": "kdmm.modules.Optimization",
                "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.02},
            },
            "metrics": {
                "accuracy": {"_target_": "kdmm.metrics.Accuracy"},
                "f1": {"_target_": "kdmm.metrics.F1", "class_names": ["bad", "good"]},
            },
        },
        "trainer": {"accelerator": "cpu", "max_epochs": -1, "max_steps": 12, "log_every_n_steps": 1},
    }


LSTM = {
    "_target_": "kdmm.models.Classifier",
    "tower": {"_target_": "kdmm.models.LstmText", "tokenizer": "student-bert", "embedding_width": 8, "hidden_width": 8},
    "classes": 2,
}
TEACHER = {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher"}
SOFT = {"hard": {"_target_": "kdmm.losses.CrossEntropy"}, "soft": {"_target_": "kdmm.losses.LogitMSE"}}


def values(run, name):
    return [float(row[name]) for row in logged(run.dir) if row[name]]


def test_each_reads_the_caption_with_its_own_tokenizer(here):
    student, teacher = LstmText("student-bert", 8, 8), TransformerText("teacher-bert")
    data = MultimodalDataModule(TextTable("reviews.jsonl"), batch_size=8)
    data.use({"student": Classifier(student, 2).preprocess, "teacher": Classifier(teacher, 2).preprocess})
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    ours, theirs = batch["student"]["text"], batch["teacher"]["text"]
    assert ours.shape == theirs.shape
    assert not torch.equal(ours, theirs)
    for name, ids in (("student-bert", ours), ("teacher-bert", theirs)):
        assert transformers_tokenizer(name).batch_decode(ids, skip_special_tokens=True) == batch["caption"]


def test_a_student_of_another_vocabulary_learns_the_logits(here):
    online = kdmm.fit(experiment("online", LSTM, TEACHER, SOFT))
    soft = values(online, "train/soft")
    assert len(soft) == 12
    assert sum(soft[-3:]) < 0.7 * sum(soft[:3])
    stored = {"_target_": "kdmm.teachers.Precomputed", "teacher": TEACHER, "views": 1, "outputs": ["logits"]}
    assert values(kdmm.fit(experiment("stored", LSTM, stored, SOFT)), "train/soft") == pytest.approx(soft, rel=1e-4)
    found = kdmm.evaluate(online.dir)
    assert {"test/top1", "test/f1", "test/recall/good"} <= set(found)
    texts = ["a good film", "dull"]
    loaded = kdmm.load(online.dir)
    torch.testing.assert_close(
        loaded({"text": loaded.preprocess.text(texts)})["logits"],
        online.model({"text": online.model.preprocess.text(texts)})["logits"],
    )


def test_layers_are_learned_first_and_logits_then(here):
    """TinyBERT's two steps; of equal tokens, since layers are compared token by token."""
    taps = {"h0": "tower.states.0", "h1": "tower.states.1", "a0": "tower.scores.0"}
    tower = {"_target_": "kdmm.models.TransformerText", "name": "teacher-bert", "weights": None}
    small = {
        "_target_": "kdmm.models.Classifier",
        "tower": {**tower, "layers": 2, "width": 8, "heads": 4},
        "classes": 2,
    }
    student = {"_target_": "kdmm.models.Tapped", "model": small, "taps": taps}
    teacher = {**TEACHER, "taps": {"h0": "tower.states.0", "h2": "tower.states.2", "a1": "tower.scores.1"}}
    terms = {
        "states": {"_target_": "kdmm.losses.HiddenStates", "layers": {"h0": "h0", "h1": "h2"}},
        "attention": {"_target_": "kdmm.losses.AttentionMaps", "layers": {"a0": "a1"}},
        "soft": {"_target_": "kdmm.losses.LogitMSE"},
    }
    first, then = ({"_target_": "kdmm.losses.Step", "values": pair, "at": [0.5]} for pair in ([1, 0], [0, 1]))
    run = kdmm.fit(experiment("tiny", student, teacher, terms, {"states": first, "attention": first, "soft": then}))
    states, attention, soft = (values(run, f"train/{name}") for name in ("states", "attention", "soft"))
    assert values(run, "train/weight/states") == [1.0] * 6 + [0.0] * 6
    assert values(run, "train/weight/soft") == [0.0] * 6 + [1.0] * 6
    assert states[5] < 0.9 * states[0]
    assert attention[5] < attention[0]
    assert sum(soft[-2:]) < sum(soft[5:7])
    assert type(run.model) is Classifier
    assert not any(part._forward_hooks for part in run.model.tower.states)
    run.model({"text": run.model.preprocess.text(["a film"])})
    assert run.model.tower.trunk.config._attn_implementation == "sdpa"  # as fast as before


def test_layers_of_other_tokens_are_refused(here):
    tower = {"_target_": "kdmm.models.TransformerText", "name": "student-bert", "context_length": 5}
    model = {"_target_": "kdmm.models.Classifier", "tower": tower, "classes": 2}
    student = {"_target_": "kdmm.models.Tapped", "model": model, "taps": {"h": "tower.states.1"}}
    teacher = {**TEACHER, "taps": {"h": "tower.states.2"}}
    term = {"states": {"_target_": "kdmm.losses.HiddenStates", "layers": {"h": "h"}}}
    with pytest.raises(InputError, match="Tokens are compared place by place: give both models the same tokens"):
        kdmm.fit(experiment("other", student, teacher, term))


def test_a_tapped_student_tells_what_its_terms_can_read(here):
    model = {"_target_": "kdmm.models.Tapped", "model": LSTM, "taps": {"h": "tower.lstm"}}
    assert targets.gives(model) == {"logits", "features", "h"}
