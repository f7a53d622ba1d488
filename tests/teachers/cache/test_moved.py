"""A store is of the data's content, wherever they lie and whenever they were copied there."""

import os
import shutil

import pytest
import torch

from kdmm.data import ImageFolder, WebDataset
from kdmm.errors import InputError
from kdmm.models import Classifier, ConvImage
from kdmm.teachers import Cached, Frozen, Precomputed
from tests.data.files import picture, write_pictures
from tests.teachers.cache import small
from tests.teachers.cache.small import data, teacher, two_towers, write, write_table

SPLITS = ("train", "val")
LONG_AGO_S = 1_000_000_000


def folder_of_pictures(folder):
    for split in SPLITS:
        for name in "xy":
            write_pictures(folder / split / name, [f"{split}{n}.png" for n in range(3)])
    return ImageFolder(folder)


def two_folders_of_shards(folder):
    small.shards(folder)
    for name in "ab":
        (folder / name).mkdir()
        (folder / f"{'ab'.index(name)}.tar").rename(folder / name / "0.tar")
    return shards_in_folders(folder)


def shards_in_folders(folder):
    urls = {"train": [str(folder / "a" / "0.tar"), str(folder / "b" / "0.tar")], "val": str(folder / "val.tar")}
    return WebDataset(urls)


SOURCES = {
    "table": (write_table, write_table),
    "numbered table": (lambda folder: write_table(folder, ids=False),) * 2,
    "folder": (folder_of_pictures, ImageFolder),
    "shards": (small.shards, small.shards_of),
    "shards of one name": (two_folders_of_shards, shards_in_folders),
    "clips": (small.clips, small.clips),
}


def moved(folder, to):
    """Copy a folder as rsync does without times."""
    shutil.copytree(folder, to, copy_function=shutil.copyfile)
    for path in to.rglob("*"):
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return to


@pytest.mark.parametrize("kind", SOURCES)
def test_copied_data_have_the_same_answers(kind, tmp_path):
    make, again = SOURCES[kind]
    online = Frozen(small.four_towers()) if kind == "clips" else teacher()
    write(tmp_path / "store", online, data(make(tmp_path / "here")))
    elsewhere = moved(tmp_path / "here", tmp_path / "other" / "mount")
    if kind != "clips":  # these samples are in memory but for their files
        shutil.rmtree(tmp_path / "here")
    source, cached = data(again(elsewhere)), Cached(str(tmp_path / "store"))
    cached.prepare(source, SPLITS)
    source.use({"student": two_towers(2).preprocess, **online.preprocesses})
    batches = 0
    for batch in (*source.train_dataloader(), *source.val_dataloader()):
        expected, found = online.answer(batch), cached.answer(batch)
        for name in ("image", "text", "video"):
            if name in found:
                torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-5)
        batches += 1
    assert batches > 2


def test_one_byte_of_a_picture(tmp_path):
    write(tmp_path / "store", teacher(), data(write_table(tmp_path / "here")))
    elsewhere = moved(tmp_path / "here", tmp_path / "there")
    path = elsewhere / "5.png"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match=r"made for the train sample 'row5' \(.*table.csv, row 6\): its file has ano"):
        Cached(str(tmp_path / "store")).prepare(data(write_table(elsewhere)), SPLITS)


def test_one_caption(tmp_path):
    write(tmp_path / "store", teacher(), data(write_table(tmp_path / "here")))
    elsewhere = moved(tmp_path / "here", tmp_path / "there")
    source = write_table(elsewhere)
    table = elsewhere / "table.csv"
    table.write_text(table.read_text().replace("row5,5.png,caption of 1", "row5,5.png,caption of I"))
    with pytest.raises(InputError, match=r"lacks 1 of 4 train texts, such as 'caption of I'"):
        Cached(str(tmp_path / "store")).prepare(data(source), SPLITS)


def test_one_byte_of_a_shard(tmp_path):
    write(tmp_path / "store", teacher(), data(small.shards(tmp_path / "here")))
    path = moved(tmp_path / "here", tmp_path / "there") / "1.tar"
    content = bytearray(path.read_bytes())
    place = content.index(b"IDAT") + 20
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"shard 1.tar of web \(stored: \w+; here: \w+\)\. Write"):
        Cached(str(tmp_path / "store")).prepare(data(small.shards_of(path.parent)), SPLITS)


def test_pictures_that_changed_places(tmp_path):
    write(tmp_path / "store", Frozen(Classifier(ConvImage([4], 8), 3).eval()), data(folder_of_pictures(tmp_path / "a")))
    elsewhere = moved(tmp_path / "a", tmp_path / "b")
    for number, name in ((1, "train0.png"), (0, "train1.png")):
        picture(number).save(elsewhere / "train" / "x" / name)
    with pytest.raises(InputError, match=r"made for the train sample 'train/x/train0.png'"):
        Cached(str(tmp_path / "store")).prepare(data(ImageFolder(elsewhere)), SPLITS)


def test_answers_that_are_precomputed_are_found_elsewhere(tmp_path):
    for folder in (tmp_path / "here", moved_table(tmp_path)):
        of = Precomputed(teacher(), 3, str(tmp_path / "answers"))
        of.prepare(data(write_table(folder)), SPLITS)
        assert len(list((tmp_path / "answers").iterdir())) == 1


def moved_table(folder):
    write_table(folder / "here")
    return moved(folder / "here", folder / "there")
