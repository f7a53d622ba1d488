"""The speed of several runs' models, side by side in one report."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import kdmm
from kdmm.models import load_model, save_model
from kdmm.runs.speed import BATCH_SIZE, measure_speed
from kdmm.targets import build
from tests.analysis.records import record, write
from tests.conftest import MINILM
from tests.small_runs import STUDENT

BIG = {**STUDENT, "image": {**STUDENT["image"], "image_size": 96, "stages": 3}}


def finished(folder: Path, name: str, tree: dict, **changes: object) -> Path:
    """A finished run of an untrained model."""
    run = write(folder, record(name, **changes))
    save_model(run / "student.safetensors", build(tree, allow=("tests",)), tree)
    return run


def test_one_model_of_each_experiment_is_measured(tmp_path: Path) -> None:
    runs = [finished(tmp_path, f"small-fold{fold}", STUDENT, fold=fold) for fold in (0, 1)]
    runs.append(finished(tmp_path, "big-fold0", BIG, fold=0))
    (runs[1] / "student.safetensors").unlink()  # only the first of an experiment is looked at
    found = measure_speed(runs, seconds=2.0)
    assert list(found.samples_per_s) == ["small", "big"]
    assert found.samples_per_s["small"] > 2 * found.samples_per_s["big"]
    assert found.remarks == ()
    assert " samples at a time on " in found.how
    text = kdmm.report(runs).to_markdown()
    assert "| samples/s |" in text
    assert "samples/s: one model an experiment, side by side, " in text
    assert "samples/s" not in kdmm.report(runs, speed=False).to_markdown()


def test_a_model_that_cannot_be_measured_is_remarked_on_and_the_others_are(tmp_path: Path) -> None:
    runs = [finished(tmp_path, name, STUDENT) for name in ("gone", "damaged", "good")]
    (runs[0] / "student.safetensors").unlink()
    (runs[1] / "student.safetensors").write_bytes(b"{}")
    blind = {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 4}
    runs.append(finished(tmp_path, "blind", blind))
    found = measure_speed(runs, seconds=0.1)
    assert list(found.samples_per_s) == ["good"]
    for remark, words in zip(found.remarks, ("holds no model file", "is damaged", ""), strict=True):
        assert words in remark
    assert [remark.partition(":")[0] for remark in found.remarks] == ["gone", "damaged", "blind"]
    row = next(line for line in kdmm.report(runs).to_markdown().splitlines() if line.startswith("| blind |"))
    assert row.split(" | ")[3] == "-"


def test_no_model_at_all_gives_remarks_alone(tmp_path: Path) -> None:
    run = finished(tmp_path, "gone", STUDENT)
    (run / "student.safetensors").unlink()
    found = measure_speed([run])
    assert (dict(found.samples_per_s), len(found.remarks)) == ({}, 1)


def test_models_that_write_are_measured_with_as_many_beams_as_their_runs(tmp_path: Path, monkeypatch) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 0.001
        return now[0]

    def generate(self, inputs, beams=1):
        now[0] += beams
        return ["one two"] * len(inputs)

    monkeypatch.setattr("kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=tick))
    monkeypatch.setattr("kdmm.models.Seq2Seq.generate", generate)
    tokens = {"_target_": "kdmm.data.TrainedTokens", "trained_on": {"_target_": "tests.parallel.Phrases"}}
    sizes = {"d_model": 16, "max_position_embeddings": 32}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 16}
    both = {**tokens, "vocab_size": 270, "context_length": 8}
    network = {"_target_": "transformers.MarianConfig", **sizes}
    tree = {"_target_": "kdmm.models.Seq2Seq", "network": network, "source": both, "text": both}
    searched = {"test/beam2/chrf": 0.2, "test/beam3/chrf": 0.4}
    runs = [finished(tmp_path, "plain", STUDENT)]
    runs += [finished(tmp_path, name, tree, metrics=metrics) for name, metrics in {"a": {}, "b": searched}.items()]
    found = measure_speed(runs, seconds=0.2, allow=("tests",))
    assert found.remarks == ()
    assert list(found.samples_per_s) == ["plain", "a", "b"]
    assert list(found.tokens_per_s) == list(found.beam_tokens_per_s) == ["a", "b"]
    assert found.beams == 3
    for name in ("a", "b"):
        assert found.tokens_per_s[name] == pytest.approx(3 * found.beam_tokens_per_s[name], rel=0.01)
    assert found.legend.endswith(", tokens/s with 3 beams.")
    assert measure_speed(runs[:2], seconds=0.2, allow=("tests",)).beam_tokens_per_s == {}


def test_slow_models_get_fewer_pictures(tmp_path: Path, monkeypatch) -> None:
    run = finished(tmp_path, "slow", STUDENT)
    forward = type(load_model(run / "student.safetensors")).forward
    sizes = []

    def slow(self, batch):
        sizes.append(len(batch["image"]))
        time.sleep(0.01 * sizes[-1])  # a hundred pictures a second
        return forward(self, batch)

    monkeypatch.setattr("kdmm.models.DualEncoder.forward", slow)
    began = time.monotonic()
    found = measure_speed([run], seconds=0.5)
    assert 1 <= sizes[-1] <= 10 < BATCH_SIZE  # five calls of ten pictures would take it all
    assert found.how.startswith(f"{sizes[-1]} samples at a time")
    assert time.monotonic() - began < 10
