import json
import pickle

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from kdmm.data import PairTable
from kdmm.errors import InputError
from tests.data.files import encoded, picture, write_pictures
from tests.data.sounds import encoded as encoded_sound
from tests.data.sounds import noise, write_sounds

ROWS = [("a.png", "a cat", "1"), ("sub/b.png", 'a "big" dog, brown', "2"), ("", "text alone", "3"), ("c.png", "", "4")]


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path, ["a.png", "c.png"])
    write_pictures(tmp_path / "sub", ["b.png"])
    return tmp_path


def write_csv(path, rows, separator=",", header=("image", "caption", "id")):
    lines = [separator.join(f'"{value.replace(chr(34), chr(34) * 2)}"' for value in row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def write_jsonl(path, rows):
    keys = ("image", "caption", "id")
    path.write_text("\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in rows), "utf-8")
    return path


def write_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def facts(samples):
    return [(sample.id, sample.image and sample.image.path.rpartition("/")[2], sample.captions) for sample in samples]


EXPECTED = [
    ("1", "a.png", ("a cat",)),
    ("2", "b.png", ('a "big" dog, brown',)),
    ("3", None, ("text alone",)),
    ("4", "c.png", ()),
]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "txt"])
def test_every_form_gives_the_same_samples(folder, form):
    path = folder / f"table.{form}"
    settings = {}
    if form == "jsonl":
        write_jsonl(path, ROWS)
    elif form == "parquet":
        image, caption, ids = zip(*ROWS, strict=True)
        write_parquet(path, image=image, caption=caption, id=ids)
    else:
        separator = {"csv": ",", "tsv": "\t", "txt": ";"}[form]
        settings = {"txt": {"separator": ";"}, "tsv": {"quoted": True}}.get(form, {})
        write_csv(path, ROWS, separator)
    source = PairTable(path, id="id", **settings)
    assert source.splits == ("train",)
    samples = source.samples("train")
    assert facts(samples) == EXPECTED
    assert [sample.origin for sample in samples] == [f"{path}, row {n}" for n in (1, 2, 3, 4)]
    assert np.array_equal(np.asarray(samples[1].image.open()), np.asarray(picture(0)))
    assert facts(PairTable(path, **settings).samples("train")) == EXPECTED  # numbered rows are 1 to 4 too


def test_several_captions_come_from_lists_and_columns(tmp_path):
    path = write_parquet(
        tmp_path / "a.parquet", image=["a.png", "b.png"], short=["a", None], long=[["b", "a", " "], ["c", "d"]]
    )
    samples = PairTable(path, caption=("short", "long")).samples("train")
    assert [sample.captions for sample in samples] == [("a", "b"), ("c", "d")]
    path = tmp_path / "a.jsonl"
    path.write_text('{"image": "a.png", "caption": ["x", "y"]}\n\n{"image": "b.png"}\n')
    assert [sample.captions for sample in PairTable(path).samples("train")] == [("x", "y"), ()]


@pytest.mark.parametrize("kind", ["binary", "large_binary", "struct"])
def test_parquet_holds_the_images_themselves(tmp_path, kind):
    data = [encoded(0), encoded(1), None]
    if kind == "struct":
        image = pyarrow.array([{"bytes": each, "path": "x.png"} if each else None for each in data])
    else:
        image = pyarrow.array(data, getattr(pyarrow, kind)())
    path = write_parquet(tmp_path / "a.parquet", image=image, caption=["a", "b", "c"])
    samples = pickle.loads(pickle.dumps(PairTable(path).samples("train")))
    assert [sample.image is None for sample in samples] == [False, False, True]
    for seed in (0, 1):
        assert np.array_equal(np.asarray(samples[seed].image.open()), np.asarray(picture(seed)))


def test_a_struct_without_bytes_names_a_file(folder):
    image = pyarrow.array(
        [{"bytes": None, "path": "a.png"}], pyarrow.struct({"bytes": pyarrow.binary(), "path": "string"})
    )
    samples = PairTable(write_parquet(folder / "a.parquet", image=image, caption=["a"])).samples("train")
    assert samples[0].image.open().size == (12, 10)


def test_images_are_found_below_another_root(folder, tmp_path_factory):
    path = write_csv(tmp_path_factory.mktemp("elsewhere") / "a.csv", ROWS)
    assert PairTable(path, root=folder).samples("train")[1].image.open().size == (12, 10)


def test_a_column_shares_the_rows_out(tmp_path):
    rows = [("a.png", f"text {n}", split) for n, split in enumerate(["train", "validation", "TEST", "dev", "train"])]
    source = PairTable(write_csv(tmp_path / "a.csv", rows, header=("image", "caption", "part")), split="part")
    assert {split: [sample.id for sample in source.samples(split)] for split in source.splits} == {
        "train": ["1", "5"],
        "val": ["2", "4"],
        "test": ["3"],
    }
    only_train = PairTable(write_csv(tmp_path / "b.csv", rows[:1], header=("image", "caption", "part")), split="part")
    assert only_train.splits == ("train",)
    with pytest.raises(InputError, match="no val split; it has train"):
        only_train.samples("val")


def test_concepts_and_labels_come_from_columns(tmp_path):
    path = write_csv(tmp_path / "a.csv", [("a.png", "cat", "7"), ("b.png", "", "8")], header=("image", "what", "class"))
    samples = PairTable(path, caption=None, group="what", labels=("class",)).samples("train")
    assert [(sample.group, dict(sample.labels), sample.captions) for sample in samples] == [
        ("cat", {"class": 7}, ()),
        (None, {"class": 8}, ()),
    ]


def test_classes_are_named_or_numbered(tmp_path):
    rows = [("a.png", "dog", "1.0"), ("b.png", "0", "12"), ("c.png", "cat", "0")]
    path = write_csv(tmp_path / "a.csv", rows, header=("image", "kind", "size"))
    names = {"kind": ["dog", "cat"]}
    source = PairTable(path, caption=None, labels=("kind", "size"), class_names=names)
    assert source.classes == {"kind": ("dog", "cat")}
    assert [dict(sample.labels) for sample in source.samples("train")] == [
        {"kind": 0, "size": 1},
        {"kind": 0, "size": 12},
        {"kind": 1, "size": 0},
    ]
    write_csv(path, [*rows, ("d.png", "", "-1")], header=("image", "kind", "size"))
    source = PairTable(path, caption=None, labels=("kind", "size"), class_names=names, unlabelled=True)
    assert dict(source.samples("train")[3].labels) == {"kind": -1, "size": -1}


def test_numbers_in_other_tables_are_whole_too(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", image=["a", "b"], kind=[1.0, 2.0])
    samples = PairTable(path, caption=None, labels=("kind",)).samples("train")
    assert [sample.labels["kind"] for sample in samples] == [1, 2]
    write_parquet(path, image=["a", "b"], kind=[1.0, 1.7])
    check_message(
        lambda: PairTable(path, caption=None, labels=("kind",)).samples("train"), ["row 2", "'kind' holds 1.7"]
    )


def test_tables_by_split_have_ids_by_split(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        write_csv(tmp_path / name / f"{name}.csv", [(f"{name}.png", name)], header=("image", "caption"))
    by_split = {name: tmp_path / name / f"{name}.csv" for name in ("train", "test")}
    source = PairTable(by_split)
    assert {split: facts(source.samples(split)) for split in source.splits} == {
        "train": [("train/1", "train.png", ("train",))],
        "test": [("test/1", "test.png", ("test",))],
    }
    assert source.samples("test")[0].image.path == str(tmp_path / "test" / "test.png")
    assert facts(PairTable(tmp_path / "test").samples("test")) == [("1", "test.png", ("test",))]


def test_a_table_of_texts_needs_no_image_column(tmp_path):
    path = write_csv(tmp_path / "a.csv", [("one",), ("two",)], header=("sentence",))
    assert facts(PairTable(path, image=None, caption="sentence").samples("train")) == [
        ("1", None, ("one",)),
        ("2", None, ("two",)),
    ]


SOUNDS = [("a.wav", "rain"), ("sub/b.wav", "wind"), ("", "silence"), ("c.wav", "")]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_of_sounds(tmp_path, form):
    write_sounds(tmp_path, ["a.wav", "sub/b.wav", "c.wav"])
    path = tmp_path / f"table.{form}"
    if form == "jsonl":
        path.write_text("\n".join(json.dumps({"file": file, "caption": text}) for file, text in SOUNDS), "utf-8")
    elif form == "parquet":
        file, caption = zip(*SOUNDS, strict=True)
        write_parquet(path, file=file, caption=caption)
    else:
        write_csv(path, SOUNDS, {"csv": ",", "tsv": "\t"}[form], header=("file", "caption"))
    quoted = True if form == "tsv" else None
    samples = PairTable(path, image=None, audio="file", quoted=quoted).samples("train")
    found = [(sample.audio and sample.audio.path, sample.image, sample.captions) for sample in samples]
    assert found == [
        (str(tmp_path / "a.wav"), None, ("rain",)),
        (str(tmp_path / "sub" / "b.wav"), None, ("wind",)),
        (None, None, ("silence",)),
        (str(tmp_path / "c.wav"), None, ()),
    ]
    assert [sample.has("audio") for sample in samples] == [True, True, False, True]
    for seed, row in ((0, 0), (1, 1), (2, 3)):
        assert np.array_equal(samples[row].audio.open().samples.numpy().T, noise(0.1, seed=seed).astype(np.float32))


@pytest.mark.parametrize("kind", ["binary", "struct"])
def test_parquet_holds_the_sounds_themselves(tmp_path, kind):
    data = [encoded_sound(noise(0.1), "FLAC", "PCM_16"), None, encoded_sound(noise(0.2, 2), "OGG")]
    if kind == "struct":
        audio = pyarrow.array([{"bytes": each, "path": "x.flac"} if each else None for each in data])
    else:
        audio = pyarrow.array(data, "binary")
    path = write_parquet(tmp_path / "a.parquet", audio=audio, caption=["a", "b", "c"])
    samples = pickle.loads(pickle.dumps(PairTable(path, image=None, audio="audio").samples("train")))
    assert [sample.audio is None for sample in samples] == [False, True, False]
    assert samples[0].audio.path == ("x.flac" if kind == "struct" else "bytes")
    clip = samples[0].audio.open()
    assert np.abs(clip.samples.numpy().T - noise(0.1)).max() < 2**-14
    assert samples[2].audio.open().samples.shape == (2, 3200)


def test_a_row_may_have_picture_sound_and_text(folder):
    write_sounds(folder, ["a.wav"])
    rows = [("a.png", "a.wav", "both"), ("c.png", "", ""), ("", "a.wav", "")]
    path = write_csv(folder / "a.csv", rows, header=("image", "audio", "caption"))
    samples = PairTable(path, audio="audio").samples("train")
    assert [list(sample.media) for sample in samples] == [["image", "audio"], ["image"], ["audio"]]
    assert samples[0].image.open().size == (12, 10)
    assert samples[2].audio.open().samples.shape == (1, 1600)
    write_csv(path, [*rows, ("", "", " ")], header=("image", "audio", "caption"))
    check_message(
        lambda: PairTable(path, audio="audio").samples("train"), ["row 4", "neither an image nor a sound nor a caption"]
    )


def test_a_broken_sound_column_is_named(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", audio=[1.5], caption=["a"])
    check_message(
        lambda: PairTable(path, image=None, audio="audio").samples("train"),
        [str(path), "row 1", "'audio'", "1.5 (float)", "a path or a file's bytes"],
    )
    check_message(
        lambda: PairTable(path, image=None, audio="sound").samples("train"), ["no column 'sound'", "audio, caption"]
    )


def test_a_source_is_pickled_without_what_it_read(folder):
    source = PairTable(write_csv(folder / "a.csv", ROWS * 500), id=None)
    assert len(source.samples("train")) == 2000
    assert len(pickle.dumps(source)) < 2000
    assert facts(pickle.loads(pickle.dumps(source)).samples("train"))[:4] == EXPECTED


def test_values_keep_their_form(tmp_path):
    """Nothing is guessed: numbers, dates and NA in captions are text, a byte order mark is none of the first column."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfimage,caption\r\na.png,007\r\nb.png,NA\r\nc.png,2020-01-01\r\n\r\n")
    assert [sample.captions for sample in PairTable(path).samples("train")] == [("007",), ("NA",), ("2020-01-01",)]


HEADER = b"image,caption\n"
BROKEN = {
    "missing": (None, {}, ["PairTable.path", "no such file"]),
    "empty": (b"", {}, ["is empty"]),
    "no rows": (HEADER, {}, ["has no rows", "leave the file out"]),
    "wrong column": (
        b"image,captoin\na.png,a\n",
        {},
        ["no column 'caption'", "image, captoin", "Did you mean 'captoin'?"],
    ),
    "ragged": (HEADER + b"a.png,a\nb.png\n", {}, ["row 2 (line 3)", "1 columns", "header has 2"]),
    "too many": (HEADER + b"a.png,a, b\n", {}, ["row 1 (line 2)", "3 columns", "quotation marks"]),
    "open quotation": (
        HEADER + b'a.png,"a\nb.png,b\n',
        {},
        ["the row that begins in line 2", "unexpected end of data", "Close"],
    ),
    "a quotation mark too few": (
        HEADER + b'a.png,a\nb.png,"b\nc.png,"c"\n',
        {},
        ["the row that begins in line 3", "quoted: false"],
    ),
    "ragged by a quotation mark": (HEADER + b'a.png,"a\nb.png"\nc.png\n', {}, ["row 2 (line 4)", "1 columns"]),
    "not utf-8": (HEADER + b"a.png,\xff\xfe\n", {}, ["not UTF-8", "Save it as UTF-8"]),
    "nothing in a row": (HEADER + b"a.png,a\n,\n", {}, ["row 2", "neither an image nor a sound nor a caption"]),
    "same id": (b"image,caption,id\na,a,x\nb,b,y\nc,c,x\n", {"id": "id"}, ["'x'", "row 1", "row 3"]),
    "no id": (b"image,caption,id\na,a,x\nb,b,\n", {"id": "id"}, ["row 2", "id is empty"]),
    "unknown split": (b"image,caption,s\na,a,trian\n", {"split": "s"}, ["row 1", "'trian'", "Did you mean 'train'?"]),
    "no label": (
        b"image,caption,s\na,a,dog\n",
        {"labels": ("s",)},
        ["row 1", "'dog'", "class number", "`class_names`"],
    ),
    "no whole label": (b"image,caption,s\na,a,1\nb,b,1.7\n", {"labels": ("s",)}, ["row 2", "'1.7'", "0 or more"]),
    "a negative label": (b"image,caption,s\na,a,-7\n", {"labels": ("s",)}, ["row 1", "'-7'", "0 or more"]),
    "an empty label": (b"image,caption,s\na,a,\n", {"labels": ("s",)}, ["row 1", "''", "`unlabelled: true`"]),
    "an unknown class": (
        b"image,caption,s\na,a,dgo\n",
        {"labels": ("s",), "class_names": {"s": ["cat", "dog"]}},
        ["row 1: the class is 'dgo'", "cat, dog", "Did you mean 'dog'?"],
    ),
    "long separator": (HEADER, {"separator": "||"}, ["separator", "'||'", "one character"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_csv_is_named_with_its_row(tmp_path, name):
    content, settings, said = BROKEN[name]
    path = tmp_path / "pairs.csv"
    if content is not None:
        path.write_bytes(content)
    check_message(lambda: PairTable(path, **settings).samples("train"), [str(path), *said][name == "long separator" :])


JSONL = {
    "not json": (b'{"image": "a", "caption": "a"}\n{"image": \n', ["line 2", "not JSON", "one object {...} a line"]),
    "no object": (b'["a", "b"]\n', ["line 1", "list", "one object {...} a line"]),
    "wrong key": (b'{"image": "a", "text": "a"}\n', ["no column 'caption'", "image, text"]),
    "caption is a number": (b'{"image": "a", "caption": 3}\n', ["row 1", "'caption'", "3 (int)"]),
    "image is a number": (b'{"image": 3, "caption": "a"}\n', ["row 1", "'image'", "3 (int)"]),
    "blank lines": (b"\n\n", ["has no rows"]),
    "nested too deeply": (b"[" * 200_000, ["line 1", "not JSON", "nested too deeply"]),
    "not utf-8": (b'{"image": "a", "caption": "\xff"}\n', ["line 1", "not JSON"]),
}


@pytest.mark.parametrize("name", JSONL)
def test_a_broken_jsonl_is_named_with_its_line(tmp_path, name):
    content, said = JSONL[name]
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)
    check_message(lambda: PairTable(path).samples("train"), [str(path), *said])


def test_a_broken_parquet_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 this is none")
    check_message(lambda: PairTable(path).samples("train"), [str(path), "no Parquet file"])
    write_parquet(path, image=["a"] * 1000, caption=[str(n) for n in range(1000)])
    path.write_bytes(path.read_bytes()[:-100])
    check_message(lambda: PairTable(path).samples("train"), [str(path), "no Parquet file"])
    write_parquet(path, image=["a"], text=["a"])
    check_message(lambda: PairTable(path).samples("train"), ["no column 'caption'", "image, text"])
    write_parquet(path, image=pyarrow.array([], "string"), caption=pyarrow.array([], "string"))
    check_message(lambda: PairTable(path).samples("train"), ["has no rows"])
    write_parquet(path, image=[1.5], caption=["a"])
    check_message(lambda: PairTable(path).samples("train"), ["row 1", "1.5 (float)", "a path or a file's bytes"])


def test_other_files_and_settings_are_refused(tmp_path):
    (tmp_path / "pairs.xlsx").write_bytes(b"x")
    check_message(
        lambda: PairTable(tmp_path / "pairs.xlsx").samples("train"), ["'.xlsx'", ".csv, .tsv, .jsonl", "separator"]
    )
    (tmp_path / "pears.csv").write_bytes(b"x")
    check_message(lambda: PairTable(tmp_path / "pairs.csv").samples("train"), ["Did you mean 'pears.csv'?"])
    check_message(
        lambda: PairTable(tmp_path / "a.csv", labels=("kind",), class_names={"kin": ["a"]}),
        ["PairTable.class_names: 'kin' is not among `labels` (kind)", "Did you mean 'kind'?"],
    )
    check_message(
        lambda: PairTable(tmp_path / "a.csv", labels=("kind",), class_names={"kind": ["a", "a"]}),
        ["PairTable.class_names.kind: ['a', 'a'] names a class twice"],
    )
    check_message(
        lambda: PairTable(tmp_path / "a.csv", image=None, caption=None), ["image, audio and caption are all null"]
    )


def check_message(act, parts):
    with pytest.raises(InputError) as error:
        act()
    assert all(part in str(error.value) for part in parts), error.value
