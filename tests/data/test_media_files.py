import json

import pytest

from kdmm.data import (
    AudioRef,
    CocoCaptions,
    ImageFolder,
    ImageRef,
    ImageTextDataModule,
    MaskFolder,
    MultimodalDataModule,
    PairTable,
    Sample,
    VideoRef,
)
from kdmm.data.media_files import check_files
from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from tests.data.files import SMALL, encoded, picture, write_pictures


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path, ["0.png", "1.png", "2.png"])
    write_pictures(tmp_path / "frames", ["0.png"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".0.png").touch()
    (tmp_path / "empty.png").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (ImageRef, "0.png", None),
        (ImageRef, "3.png", "there is no such file"),
        (ImageRef, "0.png/3.png", "this file cannot be opened"),
        (ImageRef, "a\0.png", "this file cannot be opened"),
        (ImageRef, "empty.png", "the file is empty"),
        (ImageRef, "frames", "this is a folder, no file"),
        (AudioRef, "a.wav", "there is no such file"),
        (AudioRef, "frames", "this is a folder, no file"),
        (VideoRef, "a.gif", "there is no such file"),
        (VideoRef, "frames", None),
        (VideoRef, "empty", "the folder holds no pictures"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder, kind, name, said):
    modality = {ImageRef: "image", AudioRef: "audio", VideoRef: "video"}[kind]
    bad = Sample("a", origin="t.csv, row 2", **{modality: kind(str(folder / name))})
    held = Sample("b", image=ImageRef("none.png", encoded()))
    if said is None:
        check_files([held, bad], [modality])
        return
    with pytest.raises(InputError) as error:
        check_files([held, bad, bad], ["image", modality])
    assert str(error.value).startswith(f"t.csv, row 2: {folder / name}: {said}")
    assert "2 of 2 files cannot be read" in str(error.value)
    assert "`bad_samples: skip`" in str(error.value)
    check_files([bad], [])


def last_missing(folder, form):
    """Return a source of which the test split's last picture is missing."""
    rows = [("0.png", "train"), ("1.png", "train"), ("2.png", "val"), ("3.png", "test")]
    if form == "coco":
        images = [{"filename": file, "split": split, "sentences": [{"raw": "a"}]} for file, split in rows]
        (folder / "a.json").write_text(json.dumps({"images": images}))
        return CocoCaptions(folder / "a.json", folder)
    lines = {
        "csv": ["image,caption,split", *(f"{file},a,{split}" for file, split in rows)],
        "jsonl": [json.dumps({"image": file, "caption": "a", "split": split}) for file, split in rows],
    }[form]
    (folder / f"a.{form}").write_text("\n".join(lines))
    return PairTable(folder / f"a.{form}", split="split")


@pytest.mark.parametrize("form", ["csv", "jsonl", "coco"])
def test_missing_files_are_refused_before_training(folder, form):
    source = last_missing(folder, form)
    origin = "image 3.png" if form == "coco" else "row 4"
    with pytest.raises(InputError, match=rf"a.{'json' if form == 'coco' else form}, {origin}: .*no such file. 1 of 1"):
        ImageTextDataModule(source, 1).setup("fit")
    with pytest.raises(InputError, match=r"no such file. 1 of 1 files"):
        ImageTextDataModule(source, 1).setup("test")
    ImageTextDataModule(source, 1).setup("validate")
    ImageTextDataModule(source, 1, bad_samples="skip").setup("fit")


def test_clips_are_looked_for_where_they_are_read(folder):
    (folder / "a.csv").write_text("image,clip\n0.png,frames\n1.png,empty\n2.png,none.gif\n")
    source = PairTable(folder / "a.csv", caption=None, video="clip")
    with pytest.raises(InputError, match=r"row 2: .*empty: the folder holds no pictures.*2 of 6 files"):
        MultimodalDataModule(source, 1).setup("fit")
    data = MultimodalDataModule(source, 1)
    data.use({"student": Preprocess(image=SMALL.image)})  # which reads no clips
    data.setup("fit")


def test_pictures_of_classes_are_looked_for(tmp_path):
    write_pictures(tmp_path / "cat", ["0.png"])
    (tmp_path / "cat" / "1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"cat/1.png: there is no such file. 1 of 2"):
        ImageTextDataModule(ImageFolder(tmp_path), 1).setup("fit")


def test_marks_of_the_test_split_are_checked_before_training(tmp_path):
    for split in ("train", "test"):
        write_pictures(tmp_path / "images" / split, ["0.png"])
        (tmp_path / "masks" / split).mkdir(parents=True)
    picture(0, mode="L").point(lambda value: value % 2).save(tmp_path / "masks" / "train" / "0.png")
    data = ImageTextDataModule(MaskFolder(tmp_path, ["sky", "sea"]), 1, canvas=[8, 8])
    with pytest.raises(InputError, match=r"images/test/0.png has no mask"):
        data.setup("fit")
