"""What a store lacks is named before training."""

from dataclasses import replace
from shutil import rmtree

import pytest
import torch

from kdmm.data import WebDataset
from kdmm.errors import InputError
from kdmm.teachers import Cached, Frozen
from kdmm.teachers.cache import lacking
from kdmm.teachers.cache.adding import add
from kdmm.teachers.cache.store import Store
from kdmm.teachers.cache.version import VERSION
from tests.data.files import Held, encoded, pairs, write_shard
from tests.teachers.cache import small
from tests.teachers.cache.small import data, held, teacher, write

SPLITS = ("train", "val")
FEW = {"pairs": Held(train=pairs(5, captions=2), val=pairs(3, 30)), "texts": held()["texts"]}


def fill(store, source):
    Cached(str(store), teacher(), fill="online").prepare(source, SPLITS)


def prepare(store, source):
    Cached(str(store)).prepare(source, SPLITS)


@pytest.mark.parametrize("at_once", [2, lacking.LOOKED_UP])
def test_samples_that_were_added_with_fewer_views(at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(lacking, "LOOKED_UP", at_once)
    write(tmp_path, teacher(), data(FEW))
    fill(tmp_path, data(held(), views=2))
    prepare(tmp_path, data(held(), views=2))
    prepare(tmp_path, data(FEW))
    with pytest.raises(InputError, match=r"lacks 4 of 9 train samples, such as view 2 of 'pairs/s5'\. Add them"):
        prepare(tmp_path, data(held()))


@pytest.mark.parametrize("sources", [lambda folder: held(), small.shards])
def test_views_that_were_added_of_everything(sources, tmp_path):
    source, more = (data(sources(tmp_path / "data"), views=views) for views in (2, 3))
    write(tmp_path / "store", teacher(), source)
    with pytest.raises(InputError, match=r"`views: 3`, and the store .* has 2\. Set"):
        prepare(tmp_path / "store", more)
    fill(tmp_path / "store", more)
    prepare(tmp_path / "store", more)


def test_views_that_were_added_of_everything_but_shards(tmp_path):
    sources = small.shards(tmp_path / "data")
    write(tmp_path / "store", teacher(), data({**held(), **sources}, views=2))
    fill(tmp_path / "store", data(held()))
    prepare(tmp_path / "store", data(held()))
    with pytest.raises(InputError, match=r"lacks 12 of 21 train samples, such as view 2 of 'web/0.tar/00'\. Add"):
        prepare(tmp_path / "store", data({**held(), **sources}))


def test_shards_behind_urls_have_the_views_of_a_store_that_was_made_of_all_of_them(tmp_path, monkeypatch):
    source, more = (data(small.shards(tmp_path / "data"), views=views) for views in (2, 3))
    monkeypatch.setattr("kdmm.data.stream.is_web", lambda shard: True)
    store = write(tmp_path / "store", teacher(), source)
    prepare(tmp_path / "store", source)
    add(store, {"teacher": teacher()}, more, SPLITS)
    prepare(tmp_path / "store", more)
    few = data({**small.shards_of(tmp_path / "data"), "web": WebDataset(str(tmp_path / "data" / "val.tar"))}, views=2)
    with pytest.raises(InputError, match=r"`views: 2`, and the store .* has 0"):
        prepare(tmp_path / "store", few)


def more_shards(folder):
    """The shards, and another one."""
    samples = {f"n{n}": {"png": encoded(70 + n), "json": {"caption": f"new {n}"}} for n in range(4)}
    write_shard(folder / "2.tar", {**samples, "t": {"txt": "new text"}})
    sources = small.shards_of(folder)
    return {**sources, "web": WebDataset({"train": f"{folder}/{{0..2}}.tar", "val": f"{folder}/val.tar"})}


@pytest.mark.parametrize("stated", [None, 4])
def test_samples_of_shards_are_named_and_added_before_training(tmp_path, stated):
    write(tmp_path / "store", teacher(), data(small.shards(tmp_path / "data")))
    sources = more_shards(tmp_path / "data")
    if stated:  # a pass of 4 comes to all of them in time
        sources["web"] = WebDataset(sources["web"].urls, samples={"train": stated, "val": 3})
    told = r"lacks 4 of 16 train samples, such as 'web/2.tar/n0'; 5 of 24 train texts, such as 'new 0'\. Add"
    with pytest.raises(InputError, match=told):
        prepare(tmp_path / "store", data(sources))
    fill(tmp_path / "store", data(sources))
    prepare(tmp_path / "store", data(sources))
    added = Store(tmp_path / "store").added
    assert [{name: len(each) for name, each in store.tables.items()} for store in added] == [
        {"teacher.image": 4 * 3, "teacher.text": 5}
    ]


def test_all_that_later_passes_come_to_is_stored_and_no_more_than_evaluation_reads(tmp_path):
    small.shards(tmp_path / "data")
    urls = {"train": f"{tmp_path}/data/{{0..1}}.tar", "val": f"{tmp_path}/data/val.tar"}
    store = write(tmp_path / "store", teacher(), data(WebDataset(urls, samples={"train": 5, "val": 2})))
    assert len(store.tables["teacher.image"]) == 12 * 3 + 2


def test_a_new_caption_of_a_picture_that_is_read_with_it(tmp_path):
    torch.manual_seed(1)
    samples = [replace(each, captions=(f"a {each.id}",)) for each in pairs(4)]
    write(tmp_path, Frozen(small.Pair("image").eval()), data(Held(train=samples, val=samples[:1])))
    prepare(tmp_path, data(Held(train=samples, val=samples[:1])))
    other = [*samples[:2], replace(samples[2], captions=("new",)), samples[3]]
    with pytest.raises(InputError, match=r"lacks 1 of 4 train samples, such as 's2'\."):
        prepare(tmp_path, data(Held(train=other, val=samples[:1])))
    further = [*samples[:3], replace(samples[3], captions=(*samples[3].captions, "second"))]
    source = data(Held(train=further, val=samples[:1]), views=3)
    source.use({"student": small.Pair("image").preprocess})
    drawn = {}
    for epoch in range(3):
        source.position(epoch, 0)
        for batch in source.train_dataloader():
            drawn |= dict(zip(zip(batch["id"], batch["view"], strict=True), batch["caption"], strict=True))
    (first, *_) = (view for view in range(3) if drawn["s3", view] == "second")
    with pytest.raises(InputError, match=rf"lacks 1 of 4 train samples, such as (view {first} of )?'s3'\."):
        prepare(tmp_path, source)


def test_an_addition_that_was_deleted_is_written_in_its_place(tmp_path):
    write(tmp_path, teacher(), data(FEW))
    fill(tmp_path, data(held(), views=2))
    fill(tmp_path, data(held()))
    before = {path.name: small.files(path) for path in tmp_path.glob("added-*")}
    assert set(before) == {"added-000", "added-001"}
    rmtree(tmp_path / "added-000")
    fill(tmp_path, data(held(), views=2))
    fill(tmp_path, data(held()))
    assert {path.name: small.files(path) for path in tmp_path.glob("added-*")} == before
    prepare(tmp_path, data(held()))


@pytest.mark.parametrize("content", ["{", '{"version": 2, "checksum": "0"}'])
def test_a_damaged_manifest_of_an_addition_is_named_with_what_to_do(content, tmp_path):
    write(tmp_path, teacher(), data(FEW))
    fill(tmp_path, data(held()))
    whole = (tmp_path / "added-000" / "manifest.json").read_bytes()
    (tmp_path / "added-000" / "manifest.json").write_text(content.replace("2", str(VERSION)))
    message = r"added-000/manifest.json is damaged.* Delete the folder .*added-000: the store is whole without it"
    with pytest.raises(InputError, match=message):
        fill(tmp_path, data(held()))
    rmtree(tmp_path / "added-000")
    fill(tmp_path, data(held()))
    assert (tmp_path / "added-000" / "manifest.json").read_bytes() == whole


def test_an_interrupted_addition_of_other_data_is_named_with_what_to_do(tmp_path, monkeypatch):
    write(tmp_path, teacher(), data(FEW))

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("kdmm.teachers.cache.writer.finish", stop)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path, data(held()))
    other = data({**held(), "pairs": Held(train=pairs(7, captions=2), val=pairs(3, 30))})
    message = r"added-000 was begun with something else: .*, or delete the folder .*added-000: it holds an interrupted"
    with pytest.raises(InputError, match=message):
        fill(tmp_path, other)
    fill(tmp_path, data(held()))  # with the same data it is gone on with
    assert [len(each.tables["teacher.image"]) for each in Store(tmp_path).added] == [4 * 3]
