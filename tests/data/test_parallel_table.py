import csv
import json
import pickle

import pytest

from kdmm.data import Captioned, ParallelTable
from kdmm.errors import InputError


def write(path, text):
    path.write_text(text, "utf-8")
    return path


def read(source, split="train"):
    return [(sample.id, sample.source, sample.captions) for sample in source.samples(split)]


def test_a_row_is_a_source_with_its_targets(tmp_path):
    path = write(tmp_path / "a.tsv", "source\ttarget\nein Hund \ta dog\n eine Katze\ta cat\n")
    source = ParallelTable(path)
    assert source.splits == ("train",)
    assert read(source) == [("1", "ein Hund", ("a dog",)), ("2", "eine Katze", ("a cat",))]
    sample = source.samples("train")[1]
    assert sample.origin == f"{path}, row 2"
    assert sample.media == {}
    assert sample.has("source")
    assert pickle.loads(pickle.dumps(source)).samples("train") == source.samples("train")


def test_every_kind_of_table_gives_the_same(tmp_path):
    rows = [{"de": "ein Hund", "en": "a dog, small"}, {"de": 'eine "Katze"', "en": "a cat"}]
    quoted = 'de,en\nein Hund,"a dog, small"\n"eine ""Katze""",a cat\n'
    tables = [
        write(tmp_path / "a.csv", quoted),
        write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))),
        write(tmp_path / "a.txt", quoted.replace(",", ";").replace("dog;", "dog,")),
    ]
    found = [read(ParallelTable(path, "de", "en", separator=";" if path.suffix == ".txt" else None)) for path in tables]
    assert found[0] == [("1", "ein Hund", ("a dog, small",)), ("2", 'eine "Katze"', ("a cat",))]
    assert found[0] == found[1] == found[2]


SPEECH = 'source\ttarget\n"eins\tone\nzwei"\ttwo\n"Nein", sagte er.\t"No," he said.\n'


def test_quotation_marks_between_tabs_are_not_guessed(tmp_path):
    path = write(tmp_path / "a.tsv", SPEECH)
    with pytest.raises(InputError, match=r'a.tsv, line 2: a cell begins with a quotation mark: "eins.*quoted: false'):
        ParallelTable(path).samples("train")
    expected = [('"eins', ("one",)), ('zwei"', ("two",)), ('"Nein", sagte er.', ('"No," he said.',))]
    assert [each[1:] for each in read(ParallelTable(path, quoted=False))] == expected
    text = write(tmp_path / "a.txt", SPEECH)
    assert [each[1:] for each in read(ParallelTable(text, separator="\t", quoted=False))] == expected
    inner = write(tmp_path / "b.tsv", 'source\ttarget\nein "Hund"\ta 5" dog\n')
    for quoted in (None, False, True):  # marks inside of a cell mean the same by both rules
        assert read(ParallelTable(inner, quoted=quoted)) == [("1", 'ein "Hund"', ('a 5" dog',))]


def test_tables_that_pandas_or_csv_writes(tmp_path):
    rows = [('ein "Hund"', "a dog"), ("eine\tKatze", "a\ncat"), ('"', "b")]
    path = tmp_path / "a.tsv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([("source", "target"), *rows])
    found = read(ParallelTable(path, quoted=True))
    assert [(source, *targets) for _, source, targets in found] == rows
    with pytest.raises(InputError, match="quoted: true"):
        ParallelTable(path).samples("train")


def test_commas_may_be_without_quoting(tmp_path):
    path = write(tmp_path / "a.csv", 'source,target\n"a,"b\n')
    assert read(ParallelTable(path, quoted=False)) == [("1", '"a', ('"b',))]


def test_there_may_be_several_references(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"source": "Hund", "target": ["dog", " hound", "dog", ""]}')
    assert read(ParallelTable(path)) == [("1", "Hund", ("dog", "hound"))]
    path = write(tmp_path / "b.tsv", "source\tone\ttwo\nHund\tdog\thound\nKatze\tcat\t\n")
    assert [each[2] for each in read(ParallelTable(path, target=["one", "two"]))] == [("dog", "hound"), ("cat",)]


def test_splits_ids_and_groups_are_columns(tmp_path):
    text = "source,target,id,part,text\na,A,x,train,t1\nb,B,y,dev,t2\nc,C,z,test,\n"
    source = ParallelTable(write(tmp_path / "a.csv", text), id="id", split="part", group="text")
    assert source.splits == ("train", "val", "test")
    assert [source.samples(split)[0].id for split in source.splits] == ["x", "y", "z"]
    assert [source.samples(split)[0].group for split in source.splits] == ["t1", "t2", None]


def test_sources_alone(tmp_path):
    source = ParallelTable(write(tmp_path / "a.csv", "source\na\nb\n"), target=None)
    assert read(source) == [("1", "a", ()), ("2", "b", ())]


def test_scarce_pairs_are_chosen_as_scarce_captions_are(tmp_path):
    rows = "\n".join(f"s{n},t{n},{n // 2}" for n in range(20))
    source = ParallelTable(write(tmp_path / "a.csv", f"source,target,text\n{rows}\n"), group="text")
    kept = Captioned(source, 0.3, keep="captioned").samples("train")
    assert len(kept) == 6
    assert len({sample.group for sample in kept}) == 3


@pytest.mark.parametrize(
    ("name", "content", "settings", "said"),
    [
        ("a.csv", "source,target\na,A\n,B\n", {}, "a.csv, row 2: the source column 'source' is empty"),
        ("a.csv", "source,target\na,A\nb, \n", {}, "a.csv, row 2 has no target in 'target'.*`target: null`"),
        ("a.csv", "source,target\na,A,B\n", {}, r"a.csv, row 1 \(line 2\) has 3 columns"),
        ("a.csv", "source,targt\na,A\n", {}, "no column 'target'.*Did you mean 'targt'"),
        (
            "a.jsonl",
            '{"source": 3, "target": "A"}',
            {},
            r"jsonl, row 1: the column 'source' holds 3 \(int\); text",
        ),
        ("a.jsonl", '{"source": ["a"], "target": "A"}', {}, "row 1: the column 'source' holds .* text is needed"),
        ("a.jsonl", '{"source": "a", "target": [1]}', {}, "'target' holds 1 .* text or a list of texts is needed"),
        ("a.jsonl", '{"source": "a", "target": "A"}\n{"sou', {}, "a.jsonl, line 2 is not JSON"),
        ("a.csv", "source,target,id\na,A,1\nb,B,1\n", {"id": "id"}, "the id '1' stands at .*row 1 and at .*row 2"),
        ("a.csv", "source,target,id\na,A,\n", {"id": "id"}, "row 1: the id is empty"),
        ("a.csv", "source,target,s\na,A,tset\n", {"split": "s"}, "row 1: the split is 'tset'.*Did you mean 'test'"),
        ("a.csv", "source,target\n", {}, "ParallelTable.path: .*a.csv' has no rows"),
    ],
)
def test_a_broken_row_is_refused_with_its_place(tmp_path, name, content, settings, said):
    with pytest.raises(InputError, match=said):
        ParallelTable(write(tmp_path / name, content), **settings).samples("train")


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path / "pairs.csv", "source,target\n")
    with pytest.raises(InputError, match=r"ParallelTable.path: .*no such file. Did you mean 'pairs.csv'"):
        _ = ParallelTable(tmp_path / "pair.csv").splits
