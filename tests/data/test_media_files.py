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
from kdmm.data.box_marks import SizedImage
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


def test_a_picture_of_another_size_than_its_annotations_state_is_named_from_its_head(folder):
    whole = picture(0)
    stated = Sample("a", SizedImage(ImageRef(str(folder / "0.png")), *whole.size), origin="o.json, image 1")
    check_files([stated], ["image"])
    other = Sample("b", SizedImage(ImageRef(str(folder / "1.png")), whole.width, 7), origin="o.json, image 2")
    said = (
        rf"o.json, image 2: .*1.png: the picture is {whole.width} x {whole.height} pixels, .* one of {whole.width} x 7"
    )
    with pytest.raises(InputError, match=said + r"\. 1 of 2 files"):
        check_files([stated, other], ["image"])
    check_files([other], ["text"])
    head = (folder / "2.png").read_bytes()[:60]  # the pixels are gone: nobody looks at them
    (folder / "2.png").write_bytes(head)
    check_files([Sample("c", SizedImage(ImageRef(str(folder / "2.png")), *whole.size))], ["image"])
    (folder / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        check_files([Sample("c", SizedImage(ImageRef(str(folder / "2.png")), *whole.size))], ["image"])


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
