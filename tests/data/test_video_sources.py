import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from kdmm.data import PairTable, VideoRef, VideoTextDataModule
from kdmm.data.rows import Recipe, RowMaker
from kdmm.data.sample import BadSample, Sample
from kdmm.errors import InputError
from kdmm.models import Frames, ImageTransform, Preprocess, RandomFrames
from kdmm.views import EVAL_VIEW
from tests.data.clips import animation, pictures


@pytest.fixture
def folder(tmp_path):
    """A GIF, a folder of frames, and a table that names them."""
    animation(tmp_path / "a.gif", pictures(5))
    (tmp_path / "b").mkdir()
    for number, picture in enumerate(pictures(3)):
        picture.save(tmp_path / "b" / f"{number}.png")
    (tmp_path / "clips.csv").write_text("clip,caption\na.gif,a bar\nb,three bars\n,words alone\nc.gif,nothing there\n")
    return tmp_path


def test_a_table_names_clips_and_folders_of_frames(folder):
    samples = PairTable(folder / "clips.csv", image=None, video="clip").samples("train")
    assert [sample.captions for sample in samples] == [
        ("a bar",),
        ("three bars",),
        ("words alone",),
        ("nothing there",),
    ]
    assert [len(sample.video.open().frames) for sample in samples[:2]] == [5, 3]
    assert samples[2].video is None
    with pytest.raises(InputError, match="there is no such file"):
        samples[3].video.open()


def test_a_table_holds_clips_as_bytes(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = (folder / "a.gif").read_bytes()
    pq.write_table(pa.table({"clip": [data], "caption": ["a bar"]}), folder / "a.parquet")
    (sample,) = PairTable(folder / "a.parquet", image=None, video="clip").samples("train")
    assert len(sample.video.open().frames) == 5


def test_a_row_of_nothing_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("clip,caption\n,\n")
    with pytest.raises(InputError, match="neither an image nor a sound nor a caption nor a clip"):
        PairTable(tmp_path / "a.csv", image=None, video="clip").samples("train")


class Kept:
    """Frames as they come, their number and all."""

    def __call__(self, clip):
        return torch.stack([torch.from_numpy(np.array(frame)) for frame in clip.frames])


AFFINE = (v2.RandomHorizontalFlip(), v2.RandomAffine(30, (0.2, 0.2)), v2.ColorJitter(0.3, 0.3, 0.3))


def rows(ref, *transforms):
    kept = Kept()
    maker = RowMaker(Recipe({"student": Preprocess(video=kept)}, {"video": transforms}))
    return lambda view: maker(Sample("a", video=ref), "a", view).media["video"][kept]


def test_all_frames_of_a_view_are_moved_alike(tmp_path):
    noise = Image.effect_noise((32, 24), 80).convert("RGB")
    for number in range(4):
        noise.save(tmp_path / f"{number}.png")
    row = rows(VideoRef(str(tmp_path)), *AFFINE)
    moved = row(0)
    assert all(torch.equal(frame, moved[0]) for frame in moved)
    assert not torch.equal(moved[0], torch.from_numpy(np.array(noise)))
    assert torch.equal(row(0), moved)
    assert not torch.equal(row(1), moved)
    assert torch.equal(row(EVAL_VIEW)[0], torch.from_numpy(np.array(noise)))


def test_a_view_draws_its_frames_and_evaluation_takes_the_middles(tmp_path):
    shades = [Image.new("RGB", (8, 8), (n, n, n)) for n in range(40)]
    for number, shade in enumerate(shades):
        shade.save(tmp_path / f"{number}.png")
    row = rows(VideoRef(str(tmp_path)), RandomFrames(4))
    drawn = row(0)[:, 0, 0, 0]
    assert len(drawn) == 4
    assert (drawn // 10).tolist() == [0, 1, 2, 3]
    assert torch.equal(row(0)[:, 0, 0, 0], drawn)
    assert any(not torch.equal(row(view)[:, 0, 0, 0], drawn) for view in range(1, 4))
    assert row(EVAL_VIEW)[:, 0, 0, 0].tolist() == list(range(40))


def test_a_broken_clip_is_named_and_left_out_where_it_may_be(folder):
    (folder / "c.gif").write_bytes(b"")
    made = RowMaker(Recipe({"student": Preprocess(video=Kept())}))(
        Sample("c", video=VideoRef(str(folder / "c.gif")), origin="row 5"), "c", 0
    )
    assert isinstance(made, BadSample)
    assert str(made) == f"row 5: {folder / 'c.gif'}: the file is empty"


def test_batches_hold_the_clips_of_the_samples_that_have_one(folder):
    (folder / "c.gif").write_bytes((folder / "a.gif").read_bytes())
    source = PairTable(folder / "clips.csv", image=None, video="clip")
    data = VideoTextDataModule(source, 4, augment=[RandomFrames(2)], views=1)
    student, teacher = Frames(2, ImageTransform(8)), Frames(5, ImageTransform(8))
    data.use({"student": Preprocess(video=student), "teacher": Preprocess(video=teacher)})
    (batch,) = list(data.train_dataloader())
    assert batch["student"]["present/video"].tolist() == [caption != "words alone" for caption in batch["caption"]]
    assert batch["student"]["video"].shape == (3, 2, 3, 8, 8)
    assert batch["teacher"]["video"].shape == (3, 5, 3, 8, 8)
    assert torch.equal(batch["student"]["video"], batch["teacher"]["video"][:, [1, 3]])  # of the same two frames
    with pytest.raises(InputError, match="the student reads image, and VideoTextDataModule has video and text alone"):
        data.use({"student": Preprocess(image=ImageTransform(8))})
