import pytest

from kdmm import fetch
from kdmm.data import DeepForest
from kdmm.errors import InputError
from tests.data.pictures import voc


def test_its_trees_are_of_one_class_in_tiles_of_three_splits(tmp_path):
    trees = [("Alive", (x, 5, x + 8, 15), "") for x in range(0, 200, 20)] + [("Dead", (0, 0, 10, 10), "")]
    voc(tmp_path, "a", trees, (200, 40), (200, 40))
    source = DeepForest(tmp_path, tiles=40)
    assert str(source) == "DeepForest"
    assert source.class_names("box_classes") == ("Tree",)
    assert {split: len(source.samples(split)) for split in source.splits} == {"train": 3, "val": 1, "test": 1}
    boxes = source.samples("train")[0].marks.open().boxes.tolist()
    assert boxes == [[0, 5, 8, 15], [20, 5, 28, 15], [0, 0, 10, 10]]  # a first pixel of 0: nothing is moved
    (whole,) = DeepForest(tmp_path, tiles=None).samples("train")
    assert len(whole.marks.boxes) == 11


def test_what_has_not_been_fetched_is_said_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("KDMM_CACHE", str(tmp_path))
    source = DeepForest()
    with pytest.raises(InputError, match=r"DeepForest.folder: .* run `kdmm fetch deepforest`, or give `folder`"):
        source.samples("train")


@pytest.mark.skipif(fetch.present("deepforest") is None, reason="needs `kdmm fetch deepforest`")
def test_the_trees_of_deepforest():
    samples = DeepForest(tiles=None).samples("train")
    assert (len(samples), sum(len(sample.marks.boxes) for sample in samples)) == (4, 951)
    cut = DeepForest()
    assert {split: len(cut.samples(split)) for split in cut.splits} == {"train": 101, "val": 35, "test": 34}
    every = [sample for split in cut.splits for sample in cut.samples(split)]
    found = sum(len(sample.marks.boxes) for sample in every)
    assert found == 941  # those on an edge are in one tile, in two or in none
    image = every[0].image.open()
    assert all(box[2] <= image.width and box[3] <= image.height for box in every[0].marks.boxes)


@pytest.mark.skipif(fetch.present("deepforest") is None, reason="needs `kdmm fetch deepforest`")
def test_the_tiles_of_the_experiment_are_what_its_readme_says():
    source = DeepForest(tiles=100)
    counts = {}
    for split in source.splits:
        samples = source.samples(split)
        counts[split] = (len(samples), sum(len(sample.marks.boxes) for sample in samples))
    assert counts == {"train": (437, 484), "val": (145, 199), "test": (145, 210)}
