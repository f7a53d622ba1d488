"""The speed of several runs' models, side by side in one report."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import kdmm
from kdmm.analysis import Throughput
from kdmm.models import DualEncoder, save_model
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


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, which stands still unless a model is made to take some."""
    now = [0.0]
    monkeypatch.setattr("kdmm.analysis.throughput.time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


@pytest.fixture
def slow(monkeypatch, clock) -> list[int]:
    """A picture takes as many seconds as it has thousands of pixels; lists the pictures of each call."""
    forward, calls = DualEncoder.forward, []

    def timed(self, batch):
        calls.append(len(batch["image"]))
        clock[0] += batch["image"][:, 0].numel() / 1000
        return forward(self, batch)

    monkeypatch.setattr("kdmm.models.DualEncoder.forward", timed)
    return calls


def test_one_model_of_each_experiment_is_measured(tmp_path: Path, slow) -> None:
    runs = [finished(tmp_path, f"small-fold{fold}", STUDENT, fold=fold) for fold in (0, 1)]
    runs.append(finished(tmp_path, "big-fold0", BIG, fold=0))
    (runs[1] / "student.safetensors").unlink()  # only the first of an experiment is looked at
    found = measure_speed(runs, seconds=205.0)
    assert found.samples_per_s == {"small": pytest.approx(1000 / 32**2), "big": pytest.approx(1000 / 96**2)}
    assert list(found.samples_per_s) == ["small", "big"]
    assert found.remarks == ()
    assert " samples at a time on " in found.how
    assert found.how.endswith(", each architecture once")
    text = kdmm.report(runs).to_markdown()
    assert "| samples/s |" in text
    assert "samples/s: one model an experiment, side by side, " in text
    assert "samples/s" not in kdmm.report(runs, speed=False).to_markdown()


def test_models_of_one_architecture_are_measured_once(tmp_path: Path, monkeypatch) -> None:
    started = {**STUDENT, "image": {**STUDENT["image"], "weights": "gone.pth", "frozen": ["blocks.0"]}}
    runs = [finished(tmp_path, "alone", STUDENT), finished(tmp_path, "big", BIG)]
    runs.append(write(tmp_path, record("distilled")))
    save_model(runs[-1] / "student.safetensors", build(STUDENT), started)  # in training it began with other weights
    measured = []

    def speeds(models, batch_size=1, repeats=1, seconds=0.0, beams=1):
        measured.append(len(models))
        named = {name: float(len(measured) * 10 + place) for place, name in enumerate(models)}
        return Throughput(named, named, {}, 0)

    monkeypatch.setattr("kdmm.runs.speed.samples_per_second", speeds)
    found = measure_speed(runs)
    assert measured == [1, 1, 2]  # each architecture alone, then both side by side
    assert found.samples_per_s == {"alone": 30.0, "big": 31.0, "distilled": 30.0}


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


def test_models_that_write_are_measured_with_as_many_beams_as_their_runs(
    tmp_path: Path, monkeypatch, clock, slow
) -> None:
    def write_texts(self, memory, tokens, beams, max_tokens, best=1):
        clock[0] += beams * max_tokens * len(memory.places)
        return torch.full((len(memory.places), max_tokens), 5)

    monkeypatch.setattr("kdmm.models.writing.TransformersNetwork.write", write_texts)
    tokens = {"_target_": "kdmm.data.TrainedTokens", "trained_on": {"_target_": "tests.parallel.Phrases"}}
    sizes = {"d_model": 16, "max_position_embeddings": 32}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 16}
    both = {**tokens, "vocab_size": 270, "context_length": 8}
    network = {"_target_": "transformers.MarianConfig", **sizes}
    tree = {"_target_": "kdmm.models.Seq2Seq", "network": network, "source": both, "text": both}
    searched = {"test/beam2/chrf": 0.2, "test/beam3/chrf": 0.4}
    runs = [finished(tmp_path, name, tree, metrics=metrics) for name, metrics in {"a": {}, "b": searched}.items()]
    found = measure_speed(runs, seconds=1e6, allow=("tests",))
    assert found.remarks == ()
    assert found.samples_per_s == {"a": pytest.approx(1 / 8), "b": pytest.approx(1 / 8)}
    assert found.tokens_per_s == {"a": pytest.approx(1), "b": pytest.approx(1)}
    assert found.beam_tokens_per_s == {"a": pytest.approx(1 / 3), "b": pytest.approx(1 / 3)}
    assert found.beams == 3
    assert found.legend.endswith(
        ", each architecture once, texts of 8 tokens whether or not they would end before, tokens/s with 3 beams."
    )
    plain = finished(tmp_path, "plain", STUDENT)
    with_pictures = measure_speed([plain, runs[0]], seconds=1e6, allow=("tests",))
    assert with_pictures.beam_tokens_per_s == {}
    assert list(with_pictures.samples_per_s) == ["plain", "a"]
    assert list(with_pictures.tokens_per_s) == ["a"]


def test_slow_models_get_fewer_pictures(tmp_path: Path, slow) -> None:
    run = finished(tmp_path, "slow", STUDENT)
    found = measure_speed([run], seconds=10.1 * 5 * 32**2 / 1000)
    assert slow[-1] == 10 < BATCH_SIZE  # five calls of ten pictures take it all
    assert slow.count(10) == 5
    assert found.how.startswith("10 samples at a time")
