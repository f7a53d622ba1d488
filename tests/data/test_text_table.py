import json
import pickle

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from kdmm.data import Labelled, PairTable, TextTable
from kdmm.errors import InputError

ROWS = [("fine", "pos"), ('so "good", really', "pos"), ("dull", "neg"), ("bad\ttaste", "neg")]


def write(path, rows, header=("text", "label")):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows) + "\n", "utf-8")
    elif path.suffix == ".parquet":
        columns = zip(*rows, strict=True)
        pyarrow.parquet.write_table(
            pyarrow.table({name: list(column) for name, column in zip(header, columns, strict=True)}), path
        )
    else:
        separator = {".csv": ",", ".tsv": "\t", ".txt": ";"}[path.suffix]
        quoted = [['"' + str(value).replace('"', '""') + '"' for value in row] for row in (header, *rows)]
        path.write_text("\n".join(separator.join(row) for row in quoted) + "\n", "utf-8")
    return path


def facts(source, split="train"):
    (label,) = source.classes or ("",)
    return [(sample.id, sample.captions[0], sample.labels.get(label)) for sample in source.samples(split)]


EXPECTED = [("1", "fine", 1), ("2", 'so "good", really', 1), ("3", "dull", 0), ("4", "bad\ttaste", 0)]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "txt"])
def test_every_form_gives_the_same_samples(tmp_path, form):
    path = write(tmp_path / f"a.{form}", ROWS)
    source = TextTable(path, separator=";" if form == "txt" else None, quoted=True if form == "tsv" else None)
    assert source.splits == ("train",)
    assert source.class_names("label") == ("neg", "pos")
    assert facts(source) == EXPECTED
    assert source.samples("train")[2].origin == f"{path}, row 3"
    again = pickle.loads(pickle.dumps(source))
    assert facts(again) == EXPECTED
    assert len(pickle.dumps(source)) < 600  # what was read stays behind


@pytest.mark.parametrize(
    ("values", "settings", "names", "numbers"),
    [
        ([1, 0, 2], {}, ("0", "1", "2"), [1, 0, 2]),
        ([5, 1, 10], {}, ("1", "5", "10"), [1, 0, 2]),  # stars: by size, not by the alphabet
        (["b", "a", "b"], {"class_names": ["b", "a"]}, ("b", "a"), [0, 1, 0]),
        ([1, 0, 1], {"class_names": ["no", "yes"]}, ("no", "yes"), [1, 0, 1]),
        (["x", "", "y"], {"unlabelled": True}, ("x", "y"), [0, -1, 1]),
        ([1, -1, 0], {"unlabelled": True}, ("0", "1"), [1, -1, 0]),
    ],
)
def test_classes_are_named_or_numbered(tmp_path, values, settings, names, numbers):
    rows = [(f"text {n}", value) for n, value in enumerate(values)]
    for form in ("csv", "jsonl"):
        source = TextTable(write(tmp_path / f"a.{form}", rows), **settings)
        assert source.class_names("label") == names
        assert [number for _, _, number in facts(source)] == numbers


def test_parquet_files_of_datasets_name_their_classes(tmp_path):
    names = ["world", "sports"]
    features = {"text": {"_type": "Value"}, "topic": {"names": names, "_type": "ClassLabel"}}
    table = pyarrow.table({"text": ["a", "b"], "topic": [1, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for split in ("train", "test"):
        path = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        pyarrow.parquet.write_table(table, path)
    (tmp_path / "README.md").write_text("train and test")
    source = TextTable(tmp_path, label="topic")
    assert source.splits == ("train", "test")
    assert source.class_names("topic") == ("world", "sports")
    assert facts(source, "test") == [("test/1", "a", 1), ("test/2", "b", 0)]
    other = {**features, "topic": {"names": names[::-1], "_type": "ClassLabel"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": other}})})
    pyarrow.parquet.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"name other classes in another order. Set `class_names`"):
        TextTable(tmp_path, label="topic").samples("train")


NAMED = {"text": {"_type": "Value"}, "topic": {"names": ["world", "sports"], "_type": "ClassLabel"}}


def save(folder, split, *parts):
    """Write what ``save_to_disk`` of Hugging Face's ``datasets`` does."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05}-of-{len(parts):05}.arrow" for n in range(len(parts))]
    for name, rows in zip(names, parts, strict=True):
        texts, topics = zip(*rows, strict=True)
        table = pyarrow.table({"text": list(texts), "topic": list(topics)})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": NAMED}})})
        with pyarrow.ipc.new_stream(folder / name, table.schema) as file:
            file.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_split": split, "_fingerprint": "0"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_folders_that_datasets_saved(tmp_path):
    both = tmp_path / "both"
    save(both / "train", "train", [("a", 1), ("b", 0)], [("c", 1)])
    save(both / "validation", "validation", [("d", 0)])
    (both / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    for path in (both, {"train": both / "train", "val": both / "validation"}):
        source = TextTable(path, label="topic")
        assert source.splits == ("train", "val")
        assert source.class_names("topic") == ("world", "sports")
        assert facts(source) == [("train/1", "a", 1), ("train/2", "b", 0), ("train/3", "c", 1)]
        assert facts(source, "val") == [("val/1", "d", 0)]
    assert source.samples("train")[2].origin == f"{both / 'train' / 'data-00001-of-00002.arrow'}, row 1"
    assert facts(TextTable(save(tmp_path / "one", "test", [("e", 1)]), label="topic"), "test") == [("1", "e", 1)]
    assert facts(TextTable(save(tmp_path / "two", "train[:9%]", [("f", 0)]), label="topic")) == [("1", "f", 0)]
    pairs = PairTable(both, image=None, caption="text", labels=("topic",))
    assert [(sample.captions, dict(sample.labels)) for sample in pairs.samples("val")] == [(("d",), {"topic": 0})]
    assert pairs.classes == {"topic": ("world", "sports")}


def test_broken_saved_folders_are_named(tmp_path):
    folder = save(tmp_path / "a", "train", [("a", 1)], [("b", 0)])
    (folder / "data-00001-of-00002.arrow").write_bytes(b"no arrow")
    with pytest.raises(InputError, match=r"data-00001-of-00002.arrow is no Arrow file that can be read .*Write it"):
        TextTable(folder, label="topic").samples("train")
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match=r"state.json names 'data-00001-of-00002.arrow', and there is no such file"):
        TextTable(folder, label="topic").samples("train")
    for state in ("{", "[]", "{}", '{"_data_files": 3}'):
        (folder / "state.json").write_text(state)
        with pytest.raises(InputError, match=r"TextTable.path: .*state.json does not say which files"):
            TextTable(folder, label="topic").samples("train")
    save(tmp_path / "b" / "unsupervised", "unsupervised", [("a", -1)])
    with pytest.raises(InputError, match=r"b/unsupervised: the split is 'unsupervised'; accepted are train"):
        TextTable(tmp_path / "b", label="topic").samples("train")


def test_splits_of_two_names_are_joined(tmp_path):
    paths = {name: write(tmp_path / f"{name}.csv", [(name, "x")]) for name in ("val", "validation")}
    assert facts(TextTable(paths), "val") == [("val/1", "val", 0), ("val/2", "validation", 0)]


def test_ids_and_groups_may_be_nought(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "key": 0, "by": 0}\n{"text": "b", "key": 1, "by": null}\n')
    samples = TextTable(path, label=None, id="key", group="by").samples("train")
    assert [(sample.id, sample.group) for sample in samples] == [("0", "0"), ("1", None)]


def test_splits_are_files_by_name(tmp_path):
    for name, rows in {"train_1": ROWS[:1], "train_2": ROWS[1:2], "validation": ROWS[2:3], "my-test": ROWS[3:]}.items():
        write(tmp_path / "set" / f"{name}.csv", rows)
    expected = {"train": ["train/1", "train/2"], "val": ["val/1"], "test": ["test/1"]}
    by_hand = {
        "train": [tmp_path / "set/train_1.csv", tmp_path / "set/train_2.csv"],
        "validation": str(tmp_path / "set/validation.csv"),
        "test": tmp_path / "set/my-test.csv",
    }
    for path in (tmp_path / "set", by_hand):
        source = TextTable(path)
        found = {split: [sample.id for sample in source.samples(split)] for split in source.splits}
        assert found == expected
        assert source.class_names("label") == ("neg", "pos")  # of all files together
    single = TextTable(write(tmp_path / "one" / "reviews.csv", ROWS).parent)
    assert facts(single) == EXPECTED


def test_a_column_shares_the_rows_out(tmp_path):
    rows = [(f"text {n}", "x", split) for n, split in enumerate(["train", "dev", "TEST", "validation"])]
    source = TextTable(write(tmp_path / "a.csv", rows, ("text", "label", "part")), split="part")
    assert {split: [sample.id for sample in source.samples(split)] for split in source.splits} == {
        "train": ["1"],
        "val": ["2", "4"],
        "test": ["3"],
    }


def test_fractions_depend_on_the_text_alone(tmp_path):
    rows = [(f"text number {n}", n % 2) for n in range(2000)]
    rows += [(f"Text, number {n}!", n % 2) for n in range(0, 2000, 10)]  # the same words
    fractions = {"val": 0.1, "test": 0.2}
    source = TextTable(write(tmp_path / "a.csv", rows), fractions=fractions)
    parts = {split: {text for _, text, _ in facts(source, split)} for split in source.splits}
    assert sum(map(len, parts.values())) == 2200
    assert len(parts["val"]) / 2200 == pytest.approx(0.1, abs=0.02)
    assert len(parts["test"]) / 2200 == pytest.approx(0.2, abs=0.025)
    for n in range(0, 2000, 10):
        assert {split for split in parts if {f"text number {n}", f"Text, number {n}!"} & parts[split]} in (
            {"train"},
            {"val"},
            {"test"},
        )
    more = TextTable(write(tmp_path / "b.csv", [("new", 0), *rows[::-1]]), fractions=fractions)
    for split in parts:
        assert {text for _, text, _ in facts(more, split)} - {"new"} == parts[split]


def test_groups_stay_on_one_side_and_val_files_stay_what_they_are(tmp_path):
    rows = [(f"text {n}", "x", f"author {n % 40}") for n in range(400)]
    path = write(tmp_path / "a.csv", rows, ("text", "label", "author"))
    source = TextTable(path, fractions={"test": 0.3}, group="author")
    assert source.splits == ("train", "test")
    groups = {split: {sample.group for sample in source.samples(split)} for split in source.splits}
    assert not groups["train"] & groups["test"]
    assert len(groups["train"]) + len(groups["test"]) == 40
    held = write(tmp_path / "t.csv", rows[:7], ("text", "label", "author"))
    both = TextTable({"train": path, "test": held}, fractions={"val": 0.5})
    assert len(both.samples("test")) == 7
    assert len(both.samples("train")) + len(both.samples("val")) == 400


def test_few_of_the_labels_are_kept(tmp_path):
    source = TextTable(write(tmp_path / "a.csv", [(f"text {n}", n % 2) for n in range(50)]))
    few = Labelled(source, 0.1)
    assert sum(sample.labels["label"] >= 0 for sample in few.samples("train")) == 5
    assert few.class_names("label") == ("0", "1")


def test_texts_without_classes_and_ids_of_their_own(tmp_path):
    path = write(tmp_path / "a.jsonl", [("a", "one"), ("b", "two")], ("key", "sentence"))
    source = TextTable(path, text="sentence", label=None, id="key")
    assert [(sample.id, sample.captions, dict(sample.labels)) for sample in source.samples("train")] == [
        ("a", ("one",), {}),
        ("b", ("two",), {}),
    ]
    assert source.classes == {}


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        ([("a", "x"), (" ", "y")], {}, r"a.csv, row 2: the text column 'text' holds ' '"),
        ([("a", "x"), ("b", "")], {}, r"row 2: the label column 'label' holds ''. Fill it, or set `unlabelled: true`"),
        ([("a", "pso")], {"class_names": ["neg", "pos"]}, r"row 1: the class is 'pso'; .* Did you mean 'pos'"),
        ([("a", "2")], {"class_names": ["neg", "pos"]}, r"row 1: the class is '2'; the classes are neg, pos"),
        ([("a", "x")], {"text": "txt"}, r"has no column 'txt'; .* Did you mean 'text'"),
        ([("a", "x")], {"id": "label", "split": "text"}, r"row 1: the split is 'a'; accepted are train"),
        ([("a", "x"), ("b", "x")], {"id": "label"}, r"the id 'x' stands at .*row 1 and at .*row 2"),
        ([("a", "x"), ("b", "")], {"id": "label", "label": None}, r"row 2: the id is empty"),
        ([("a", "x")], {"class_names": ["x", "x"]}, r"TextTable.class_names: \['x', 'x'\] names a class twice"),
        ([("a", "x")], {"fractions": {"val": 0.5, "test": 0.5}}, r"TextTable.fractions: .* together below 1"),
        ([("a", "x")], {"fractions": {"train": 0.5}}, r"TextTable.fractions: .*'train'"),
        ([("a", "x")], {"fractions": {"vol": 0.5}}, r"TextTable.fractions: the split is 'vol'.*mean 'val'"),
    ],
)
def test_broken_rows_and_settings_are_named(tmp_path, rows, settings, said):
    path = write(tmp_path / "a.csv", rows)
    with pytest.raises(InputError, match=said):
        TextTable(path, **settings).samples("train")


def test_other_kinds_of_broken_rows_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": 0}\n{"text": 7, "label": 0}\n')
    with pytest.raises(InputError, match=r"a.jsonl, row 2: the text column 'text' holds 7"):
        TextTable(path).samples("train")
    path.write_text('{"text": "a", "label": 0}\n{"text": "b"}\n')
    with pytest.raises(InputError, match=r"row 2: the label column 'label' holds None"):
        TextTable(path).samples("train")
    path.write_text('{"text": "a", "label": 0}\n{"text": \n')
    with pytest.raises(InputError, match=r"a.jsonl, line 2 is not JSON"):
        TextTable(path).samples("train")


def test_broken_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"TextTable.path: .*no such file"):
        TextTable(tmp_path / "none.csv").samples("train")
    with pytest.raises(InputError, match=r"holds no table"):
        TextTable(tmp_path).samples("train")
    write(tmp_path / "first.csv", ROWS)
    write(tmp_path / "second.csv", ROWS)
    with pytest.raises(InputError, match=r"the file 'first.csv' in .* names 0 splits"):
        TextTable(tmp_path).samples("train")
    for name in ("first", "second"):
        (tmp_path / f"{name}.csv").unlink()
    write(tmp_path / "train_test.csv", ROWS)
    with pytest.raises(InputError, match=r"names 2 splits"):
        TextTable(tmp_path).samples("train")
    with pytest.raises(InputError, match=r"TextTable.split: 'part' given, but `path` already names files by split"):
        TextTable({"train": "a.csv"}, split="part")
