"""The shipped audio experiments, made small: real notes, the real YAML files."""

from pathlib import Path

import pytest
import torch
import yaml

import kdmm
from kdmm.callbacks.retrieved import SHOWN
from kdmm.data import SoundFont
from kdmm.models import embed_sounds, embed_texts
from tests.data.sound_font.fonts import installed

pytestmark = installed

AUDIO = Path("experiments/audio").resolve()
SMALL = [
    "trainer.max_steps=3",
    "trainer.max_epochs=-1",
    "trainer.check_val_every_n_epoch=1",
    "module.optimization.schedule.warmup_steps=1",
    "data.augment=[]",
]
TOWER = ["channels=[4, 8]", "separable=true"]


def small(trained, source, *more):
    towers = [f"module.{trained}.towers.audio.{each}" for each in TOWER]
    return [*SMALL, *towers, f"{source}.families=[strings]", f"{source}.lengths=[0.4]", *more]


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return kdmm.fit(AUDIO / "teacher.yaml", small("teacher", "data.sources.pairs"))


@pytest.mark.slow
def test_teacher_student_and_a_student_of_sounds_alone(teacher):
    student = kdmm.fit(
        AUDIO / "student.yaml",
        small("student", "data.sources.pairs.source", "data.batch_size={pairs: 4, sounds: 4}"),
    )
    assert {"val/recall@5", "val/teacher/recall@5", "val/zero_shot_audio/top1"} <= student.metrics.keys()
    # what the store answers of the teacher is what the teacher itself answers
    assert student.metrics["val/teacher/recall@5"] == pytest.approx(teacher.metrics["val/recall@5"], abs=0.02)
    alone = kdmm.fit(AUDIO / "audio_only.yaml", small("student", "data.sources.pairs", "data.batch_size.pairs=8"))
    assert alone.model.preprocess.text is None
    assert "val/student_audio_to_teacher_text/recall@5" in alone.metrics
    assert not any(name.startswith("student.towers.text") for name in alone.model.state_dict())
    found = kdmm.evaluate(alone.dir)
    assert found["test/zero_shot_audio/top1"] == pytest.approx(_by_hand(alone, teacher))
    text = kdmm.report([teacher.dir, student.dir], speed=False).to_markdown()
    assert "sounds and" in text
    assert "audio→text" in text
    assert "image→text" not in text


def _by_hand(student, teacher):
    """Accuracy of the student's sounds among the class names as the teacher's text tower reads them."""
    source = SoundFont(families=["strings"], lengths=[0.4], seconds=1)
    tree = yaml.safe_load((AUDIO / "student.yaml").read_text("utf-8"))
    templates = tree["module"]["metrics"]["zero_shot"]["templates"]
    model, samples = teacher.model, source.samples("test")
    prompts = torch.stack(
        [
            embed_texts(model, [each.format(name) for each in templates]).double().mean(0)
            for name in source.class_names("instrument")
        ]
    )
    prompts = torch.nn.functional.normalize(prompts, dim=1)
    sounds = embed_sounds(student.model, [sample.audio.open() for sample in samples]).double()
    target = torch.tensor([sample.labels["instrument"] for sample in samples])
    return ((sounds @ prompts.T).argmax(1) == target).double().mean().item()


def test_the_student_without_a_teacher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = kdmm.fit(AUDIO / "alone.yaml", small("student", "data.sources.pairs.source", "data.batch_size.pairs=8"))
    assert {"val/recall@5", "val/zero_shot_audio/top1"} <= run.metrics.keys()
    assert not any("teacher" in name for name in run.metrics)


def test_a_dashboard_plays_a_sound(tmp_path):
    clip = SoundFont(families=["strings"]).samples("test")[0].audio.open()
    noun, shown = SHOWN["audio"]
    player = shown(clip, "a viola")
    assert noun == "sound"
    assert player.durations([player]) == pytest.approx([clip.seconds], abs=0.01)
    assert player.captions([player]) == ["a viola"]
