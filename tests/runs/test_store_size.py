import pytest
import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from kdmm.runs import store_size
from kdmm.runs.store_size import TableSize, store_tables
from kdmm.teachers import Ensemble, Frozen, MovingAverage
from kdmm.teachers.cache.files import mapped
from tests.teachers.cache.small import Pair, clips, data, held, shards, sounds, teacher, two_towers, write

CASES = {
    "pairs": (teacher, held),
    "shards": (teacher, shards),
    "sounds and pairs": (teacher, sounds),
    "clips and pairs": (teacher, clips),
    "two teachers": (lambda: Ensemble({"a": teacher(1), "b": teacher(2)}), held),
    "of both together": (lambda: Frozen(Pair("image").eval()), held),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_a_store_holds_what_was_planned(tmp_path, case, dtype):
    make, sources = CASES[case]
    source = data(sources(tmp_path / "data"))
    planned = {table.name: table for table in store_tables(make(), source)}
    store = write(tmp_path / "store", make(), source, formats={"": dtype})
    told = store.manifest["tables"]
    assert {name: table.rows for name, table in planned.items()} == {name: each["rows"] for name, each in told.items()}
    for name, table in planned.items():
        kept = [mapped(store.folder / shard["file"]) for shard in told[name]["shards"]]
        assert table.bytes_in(dtype) == sum(x.nbytes for part in kept for x in part.values())


def test_shards_that_nobody_lists_are_counted_by_their_first_samples(tmp_path, monkeypatch):
    source = data(shards(tmp_path))
    exact = {table.name: table.rows for table in store_tables(teacher(), source)}
    feeds = source.mixture.feeds("train")
    monkeypatch.setattr(type(feeds["web"]), "walk", lambda self: None)  # as behind URLs
    about = {table.name: table.rows for table in store_tables(teacher(), source)}
    assert about["teacher.image"] == exact["teacher.image"]
    assert about["teacher.text"] == exact["teacher.text"] + 5  # which both shards hold
    monkeypatch.setattr(store_size, "LOOKED_AT", 5)  # all have a picture and two captions
    about = {table.name: table.rows for table in store_tables(teacher(), source)}
    assert about["teacher.image"] == 3 * 14 + 3
    assert about["teacher.text"] == 2 * 14 + 3 + 2


def test_numbers_times_bytes_and_a_key():
    rows, width = 1000, 384
    table = TableSize("teacher", ("text",), rows, {"text": (width,)}, frozenset())
    assert table.bytes_in("float32") == rows * (4 * width + 8)
    assert table.bytes_in("bfloat16") == rows * (2 * width + 8)
    assert table.bytes_in("int8") == rows * (width + 4 + 8)
    assert not table.is_media
    assert table.name == "teacher.text"
    tokens = TableSize("a", ("image", "text"), rows, {"logits": (7, width)}, frozenset({"logits"}))
    assert tokens.bytes_in("float16") == rows * (2 * 7 * width + 7 + 8)  # and which of the places count
    assert tokens.is_media


def test_texts_have_no_views_and_pictures_need_a_number(tmp_path):
    endless = data(held(), views=None)
    with pytest.raises(InputError, match="views: null: each pass has new ones"):
        store_tables(teacher(), endless)

    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = two_towers()
            self.preprocess = Preprocess(text=self.tower.preprocess.text)

        def forward(self, part):
            return {name: x for name, x in self.tower(part).items() if name in ("text", "present/text")}

    (table,) = store_tables(Frozen(Reads()), endless)
    assert table.rows == len(endless.texts(["train", "val"]))


def test_what_changes_cannot_be_stored():
    average = MovingAverage()
    average.attach(two_towers())
    with pytest.raises(InputError, match="change in training"):
        store_tables(average, data(held()))
    assert torch.is_grad_enabled()
