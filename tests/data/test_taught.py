import json

import pytest

from kdmm.data import Captioned, MultimodalDataModule, Sample, Taught
from kdmm.errors import InputError
from kdmm.models import Preprocess
from tests.data.files import Held, Letters, pairs


def sources(count, start=0, captions=("own",)):
    return [
        Sample(f"s{n}", source=f"source {n}", captions=captions, group=f"g{n // 2}", origin=f"row {n}")
        for n in range(start, start + count)
    ]


def table(path, **texts):
    path.write_text("".join(json.dumps({"id": name, "target": text}) + "\n" for name, text in texts.items()), "utf-8")
    return path


@pytest.fixture
def source():
    return Held(train=sources(4), val=sources(2, 4), test=sources(2, 6))


def test_training_samples_take_the_texts_of_their_ids(source, tmp_path):
    taught = Taught(source, table(tmp_path / "t.jsonl", s3=" three ", s0="zero", other="nothing"))
    found = taught.samples("train")
    assert [(each.id, each.source, each.captions, each.group) for each in found] == [
        ("s0", "source 0", ("zero",), "g0"),
        ("s3", "source 3", ("three",), "g1"),
    ]
    for split in ("val", "test"):
        assert taught.samples(split) == source.samples(split)
        assert taught.describe(split) == source.describe(split)
    assert taught.splits == source.splits


def test_texts_can_stand_beside_the_samples_own(source, tmp_path):
    taught = Taught(source, table(tmp_path / "t.jsonl", s3="three", s0="own"), beside=True)
    captions = {each.id: each.captions for each in taught.samples("train")}
    assert captions == {"s0": ("own",), "s1": ("own",), "s2": ("own",), "s3": ("own", "three")}
    with pytest.raises(InputError, match="is about none of the 4 training samples"):
        Taught(source, table(tmp_path / "other.jsonl", other="nothing"), beside=True).samples("train")


def test_a_sample_has_as_many_texts_as_were_written_about_it(source, tmp_path):
    rows = [("s1", "b"), ("s3", ["x ", None, "y"]), ("s1", "a"), ("s1", " b"), ("s3", "z")]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"id": name, "target": text}) + "\n" for name, text in rows), "utf-8")
    taught = Taught(source, path)
    assert {each.id: each.captions for each in taught.samples("train")} == {"s1": ("b", "a"), "s3": ("x", "y", "z")}
    beside = {each.id: each.captions for each in Taught(source, path, beside=True).samples("train")}
    assert beside["s1"] == ("own", "b", "a")
    data = MultimodalDataModule(taught, 2, views=8)
    data.use({"student": Preprocess(text=Letters())})
    shown = {}
    for epoch in range(8):
        data.position(epoch, 0)
        (batch,) = data.train_dataloader()
        for name, caption in zip(batch["id"], batch["caption"], strict=True):
            shown.setdefault(name, set()).add(caption)
    assert shown == {"s1": {"b", "a"}, "s3": {"x", "y", "z"}}


def test_samples_need_no_text_and_keep_their_pictures(tmp_path):
    pictured = Captioned(Held(train=pairs(4)), 0.3, keep="uncaptioned")
    names = {each.id: f"taught {each.id}" for each in pictured.samples("train")}
    found = Taught(pictured, table(tmp_path / "t.jsonl", **names)).samples("train")
    assert len(found) == 3
    assert all(each.captions == (f"taught {each.id}",) and each.image is not None for each in found)


def test_the_columns_have_names(source, tmp_path):
    (tmp_path / "t.csv").write_text("name,said\ns1,one\n", "utf-8")
    assert Taught(source, tmp_path / "t.csv", text="said", id="name").samples("train")[0].captions == ("one",)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('{"id": "s0", "target": ""}', "t.jsonl, row 1 has no text in 'target'"),
        ('{"id": "s0", "target": [null, " "]}', "t.jsonl, row 1 has no text in 'target'"),
        ('{"id": "s0", "target": 3}', r"t.jsonl, row 1: the column 'target' holds 3 \(int\); text or a list of texts"),
        ('{"id": "p/s0", "target": "a"}', "about none of the 4 training samples of Held; its first id is 'p/s0', and"),
        ('{"id": "s0", "text": "a"}', "no column 'target'"),
    ],
)
def test_a_table_that_does_not_fit_is_named(source, tmp_path, rows, said):
    (tmp_path / "t.jsonl").write_text(rows)
    with pytest.raises(InputError, match=said):
        Taught(source, tmp_path / "t.jsonl").samples("train")


def test_a_missing_table_is_named(source, tmp_path):
    with pytest.raises(InputError, match=r"Taught.path: .*no such file"):
        Taught(source, tmp_path / "t.jsonl").samples("train")
    assert Taught(source, tmp_path / "t.jsonl").samples("val") == source.samples("val")
