import pickle

import numpy as np
import pytest

from kdmm.data import ImageFolder
from kdmm.errors import InputError
from tests.data.files import picture, write_pictures


def facts(source, split="train"):
    return [(sample.id, sample.labels["label"], sample.group) for sample in source.samples(split)]


def test_a_folder_is_a_class(tmp_path):
    write_pictures(tmp_path / "set" / "dog", ["b.png", "a.jpg"])
    write_pictures(tmp_path / "set" / "cat" / "indoors", ["1.PNG"])
    (tmp_path / "set" / "cat" / "notes.txt").write_text("cats")
    (tmp_path / "set" / ".cache").mkdir()
    source = ImageFolder(tmp_path / "set")
    assert source.splits == ("train",)
    assert source.class_names("label") == ("cat", "dog")
    assert facts(source) == [("cat/indoors/1.PNG", 0, None), ("dog/a.jpg", 1, None), ("dog/b.png", 1, None)]
    sample = source.samples("train")[2]
    assert np.array_equal(np.asarray(sample.image.open()), np.asarray(picture(0)))
    assert sample.origin == str(tmp_path / "set" / "dog" / "b.png")
    assert pickle.loads(pickle.dumps(source)).samples("train") == source.samples("train")
    assert ImageFolder(tmp_path / "set", label="animal").samples("train")[0].labels == {"animal": 0}


def test_a_split_has_its_folder(tmp_path):
    for below in ("train/cat", "train/dog", "valid/dog", "test/cat", "test/eel"):
        write_pictures(tmp_path / below, ["1.png"])
    source = ImageFolder(tmp_path)
    assert source.class_names("label") == ("cat", "dog", "eel")
    assert {split: facts(source, split) for split in source.splits} == {
        "train": [("train/cat/1.png", 0, None), ("train/dog/1.png", 1, None)],
        "val": [("valid/dog/1.png", 1, None)],
        "test": [("test/cat/1.png", 0, None), ("test/eel/1.png", 2, None)],
    }


def many(folder, numbers):
    for kind in ("x", "y"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for n in numbers:
            (folder / kind / f"p{n % 40:02}_{n}.png").touch()
    return folder


def test_fractions_move_no_picture_that_was_there(tmp_path):
    fractions = {"val": 0.1, "test": 0.2}
    source = ImageFolder(many(tmp_path, range(400)), fractions=fractions)
    parts = {split: {sample.id for sample in source.samples(split)} for split in source.splits}
    assert sum(map(len, parts.values())) == 800
    assert len(parts["val"]) / 800 == pytest.approx(0.1, abs=0.03)
    assert len(parts["test"]) / 800 == pytest.approx(0.2, abs=0.04)
    more = ImageFolder(many(tmp_path, range(400, 500)), fractions=fractions)
    for split, before in parts.items():
        assert before <= {sample.id for sample in more.samples(split)}


def test_groups_stay_on_one_side_over_all_classes(tmp_path):
    source = ImageFolder(many(tmp_path, range(400)), fractions={"val": 0.3}, group=r"^(p\d+)_")
    groups = {split: {sample.group for sample in source.samples(split)} for split in source.splits}
    assert not groups["train"] & groups["val"]
    assert groups["train"] | groups["val"] == {f"p{n:02}" for n in range(40)}
    assert sum(len(source.samples(split)) for split in source.splits) == 800


@pytest.mark.parametrize(
    ("files", "settings", "said"),
    [
        ([], {}, r"ImageFolder.folder: .*set' holds no folders. Give each class its folder"),
        (["a.png", "cat/1.png"], {}, r"set/a.png' lies in no class's folder. Move it"),
        (["train/a.png"], {}, r"train/a.png' lies in no class's folder"),
        (["cat/1.png", "dog/1.txt"], {}, r"set/dog' holds no picture \(.bmp, .jpeg.* Fill the folder, or remove it"),
        (["train/cat/1.png", "cat/1.png"], {}, r"holds 'train', a split, beside 'cat', which is none"),
        (["cat/1.png"], {"group": r"(\d+)_"}, r"ImageFolder.group: '.*' finds nothing in '1.png' of .*cat'"),
        (["cat/1.png"], {"group": "1"}, r"ImageFolder.group: '1' is no regular expression with parentheses"),
        (["cat/1.png"], {"group": "("}, r"ImageFolder.group: '\(' is no regular expression with parentheses"),
        (["cat/1.png"], {"fractions": {"val": 1}}, r"ImageFolder.fractions: .*together below 1"),
    ],
)
def test_other_folders_and_settings_are_refused(tmp_path, files, settings, said):
    (tmp_path / "set").mkdir()
    for name in files:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    with pytest.raises(InputError, match=said):
        ImageFolder(tmp_path / "set", **settings).samples("train")


def test_a_missing_folder_has_its_nearest_name(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(InputError, match=r"ImageFolder.folder: .*no such folder. Did you mean 'pictures'"):
        ImageFolder(tmp_path / "picture").samples("train")
