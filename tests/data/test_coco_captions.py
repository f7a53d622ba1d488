import json

import numpy as np
import pytest

from kdmm.data import CocoCaptions
from kdmm.errors import InputError
from tests.data.files import picture, write_pictures

COCO = {
    "images": [{"id": 9, "file_name": "a.jpg.png"}, {"id": 4, "file_name": "b.png"}, {"id": 5, "file_name": "c.png"}],
    "annotations": [
        {"id": 1, "image_id": 4, "caption": "a dog "},
        {"id": 2, "image_id": 9, "caption": "a cat"},
        {"id": 3, "image_id": 4, "caption": "one\ndog"},
        {"id": 6, "image_id": 4, "caption": "a dog"},
    ],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": f"{n}.png",
            "cocoid": 100 + n,
            "split": split,
            "sentences": [{"raw": f"first {n}."}, {"raw": f"second {n}."}],
        }
        for n, split in enumerate(["train", "restval", "val", "test", "train"])
    ],
}


def write(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def test_cocos_form_gives_every_image_with_all_its_captions(tmp_path):
    write_pictures(tmp_path, ["a.jpg.png", "b.png", "c.png"])
    source = CocoCaptions(write(tmp_path / "train.json", COCO), str(tmp_path))
    assert source.splits == ("train",)
    samples = source.samples("train")
    assert [(sample.id, sample.captions) for sample in samples] == [
        ("9", ("a cat",)),
        ("4", ("a dog", "one dog")),
        ("5", ()),
    ]
    assert np.array_equal(np.asarray(samples[1].image.open()), np.asarray(picture(1)))


def test_cocos_form_has_a_file_and_a_folder_for_each_split(tmp_path):
    other = {"images": [{"id": 1, "file_name": "x.png"}], "annotations": [{"id": 1, "image_id": 1, "caption": "x"}]}
    source = CocoCaptions(
        {"val": write(tmp_path / "val.json", other), "train": write(tmp_path / "train.json", COCO)},
        {"train": str(tmp_path / "t"), "val": str(tmp_path / "v")},
    )
    assert source.splits == ("train", "val")
    assert source.samples("val")[0].image.path == str(tmp_path / "v" / "x.png")
    assert source.samples("train")[0].image.path == str(tmp_path / "t" / "a.jpg.png")
    with pytest.raises(InputError, match="no test split; it has train, val"):
        source.samples("test")


def test_karpathys_form_trains_on_restval(tmp_path):
    write_pictures(tmp_path / "val2014", ["0.png", "1.png"])
    source = CocoCaptions(write(tmp_path / "dataset_coco.json", KARPATHY), tmp_path)
    assert {split: [sample.id for sample in source.samples(split)] for split in source.splits} == {
        "train": ["100", "101", "104"],
        "val": ["102"],
        "test": ["103"],
    }
    assert source.samples("train")[1].captions == ("first 1.", "second 1.")
    assert source.samples("train")[1].image.open().size == (12, 10)


def test_flickr30ks_form_has_no_folders_inside(tmp_path):
    images = [{"filename": "7.jpg", "imgid": 7, "split": split, "sentences": [{"raw": "a"}]} for split in ("train",)]
    samples = CocoCaptions(write(tmp_path / "f.json", {"images": images, "dataset": "flickr30k"}), "pics").samples(
        "train"
    )
    assert (samples[0].id, samples[0].image.path) == ("7", "pics/7.jpg")


IMAGE = {"id": 1, "file_name": "a.png"}
BROKEN = {
    "empty": (b"", ["is empty"]),
    "not json": (b'{"images": [', ["not JSON", "captions_train2017.json"]),
    "nested too deeply": (b"[" * 200_000, ["not JSON", "nested too deeply"]),
    "no images": (b"[]", ["no list of `images`"]),
    "neither form": ({"images": [IMAGE]}, ["neither", "`annotations`", "`sentences`"]),
    "image unknown": (
        {"images": [IMAGE], "annotations": [{"id": 5, "image_id": 2, "caption": "a"}]},
        ["annotation at place 1", "image 2", "Correct it"],
    ),
    "key missing": ({"images": [{"id": 1}], "annotations": []}, ["image 1 has no 'file_name'; it has id. Add it."]),
    "no caption": (
        {"images": [IMAGE], "annotations": [{"image_id": 1, "caption": None}]},
        ["annotation at place 1: 'caption' is None (NoneType); a text is needed. Correct it"],
    ),
    "a list for an image": (
        {"images": [IMAGE], "annotations": [{"image_id": [1], "caption": "a"}]},
        ["annotation at place 1: 'image_id' is [1] (list); a number or a text is needed"],
    ),
    "a text for an annotation": (
        {"images": [IMAGE], "annotations": ["a"]},
        ["annotation at place 1 is 'a' (str) and no object"],
    ),
    "a number for the annotations": ({"images": [IMAGE], "annotations": 3}, ["'annotations' is 3 (int); a list"]),
    "a list for a file": ({"images": [{"id": 1, "file_name": []}], "annotations": []}, ["image 1: 'file_name' is []"]),
    "no sentence": (
        {"images": [{"filename": "a", "split": "val", "sentences": [{"raw": None}]}]},
        ["image a, a sentence: 'raw' is None"],
    ),
    "sentences of one": (
        {"images": [{"filename": "a", "split": "val", "sentences": "a dog"}]},
        ["image a: 'sentences' is 'a dog' (str); a list is needed"],
    ),
    "no samples": ({"images": [], "annotations": []}, ["train split has no samples"]),
    "same id": ({"images": [IMAGE, IMAGE], "annotations": []}, ["id '1' stands at"]),
    "unknown split": (
        {"images": [{"filename": "a", "split": "extra", "sentences": []}]},
        ["image a: the split is 'extra'", "train, restval, val, test"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(tmp_path, name):
    content, said = BROKEN[name]
    path = tmp_path / "captions.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InputError) as error:
        CocoCaptions(path, "images").samples("train")
    assert all(part in str(error.value) for part in [str(path), *said]), error.value


def test_wrong_settings_are_named(tmp_path):
    with pytest.raises(InputError, match=r"CocoCaptions.annotations: .*there is no such file"):
        CocoCaptions(tmp_path / "a.json", "images").samples("train")
    with pytest.raises(InputError, match=r"unknown split 'valid'.*Did you mean 'val'"):
        CocoCaptions({"valid": "a.json"}, "images")
    source = CocoCaptions({"train": write(tmp_path / "a.json", COCO)}, {"val": "images"})
    with pytest.raises(InputError, match=r"CocoCaptions.images: no folder for the train split; it has val"):
        source.samples("train")
