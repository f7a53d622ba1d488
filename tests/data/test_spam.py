import pickle
from collections import Counter

import pytest

from kdmm import fetch
from kdmm.data import Spam
from kdmm.errors import InputError

FOLDERS = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")


def mail(subject, text):
    return f"Received: by somebody\nSubject: {subject}\nContent-Type: text/plain\n\n{text}\n".encode()


def letter(number):
    return " ".join(f"word{number}x{place}" for place in range(20))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with 60 mails of 50 concepts: ten spams come twice, with another word at the end."""
    root = tmp_path / "spam" / "package" / "data"
    number = 0
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
        for _ in range(10):
            (root / name / f"{number:05}.txt").write_bytes(mail(f"mail {number}", letter(number)))
            (root / name / f"{number:05}.json").write_text("{}")
            number += 1
    for copy in range(10):
        (root / "spam-1" / f"copy{copy}.txt").write_bytes(mail(f"mail {30 + copy}", f"{letter(30 + copy)} {copy}"))
    return tmp_path / "spam"


def everything(folder, **settings):
    source = Spam(folder, **settings)
    return {sample.id: sample for split in source.splits for sample in source.samples(split)}


def test_samples_are_what_the_files_say(folder):
    found = everything(folder)
    assert len(found) == 60
    assert found["easy-ham-1/00003"].captions == (f"mail 3\n{letter(3)}",)
    assert found["easy-ham-1/00003"].origin.endswith("easy-ham-1/00003.txt")
    assert Counter(sample.labels["kind"] for sample in found.values()) == {0: 30, 1: 30}
    assert {name: found[name].labels["kind"] for name in ("hard-ham-1/00020", "spam-2/00045")} == {
        "hard-ham-1/00020": 0,
        "spam-2/00045": 1,
    }
    assert Spam(folder).class_names("kind") == ("ham", "spam")
    assert everything(folder / "package/data").keys() == found.keys()


def test_near_copies_are_on_one_side_and_each_concept_is_tested_once(folder):
    tested = Counter()
    for fold in range(5):
        source = Spam(folder, fold=fold)
        groups = {split: {sample.group for sample in source.samples(split)} for split in source.splits}
        assert len(set.union(*groups.values())) == sum(map(len, groups.values())) == 50
        tested.update(groups["test"])
        assert source.describe("test") == {"source": "Spam", "fold": fold}
    assert set(tested.values()) == {1}
    found = everything(folder)
    assert all(found[f"spam-1/copy{n}"].group == found[f"spam-1/{30 + n:05}"].group for n in range(10))


def test_a_source_is_its_settings(folder):
    source = Spam(folder, fold=2)
    source.samples("train")
    assert len(pickle.dumps(source)) < 500
    assert pickle.loads(pickle.dumps(source)).samples("test") == source.samples("test")


def test_what_is_wrong_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KDMM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"Spam.folder: the set 'spam' has not been fetched: run `kdmm fetch spam`"):
        Spam().samples("train")
    with pytest.raises(InputError, match=r"Spam.fold: 5"):
        Spam(folder, fold=5)
    with pytest.raises(InputError, match=r"easy-ham-1': there is no such folder"):
        Spam(tmp_path).samples("train")
    blank = folder / "package/data/spam-1/blank.txt"
    blank.write_bytes(b"Received: by somebody\n\n \n")
    with pytest.raises(InputError, match=r"blank.txt has neither a subject nor a text"):
        Spam(folder).samples("train")


@pytest.mark.skipif(fetch.present("spam") is None, reason="needs `kdmm fetch spam`")
def test_the_fetched_set_is_what_it_says():
    source = Spam()  # reads 6,046 files once
    splits = {split: source.samples(split) for split in source.splits}
    found = [sample for samples in splits.values() for sample in samples]
    assert len({sample.id for sample in found}) == len(found) == 6046
    assert sum(sample.labels["kind"] for sample in found) == 1896
    assert (
        len({sample.group for sample in found}) == 4864
    )  # as a comparison of all pairs of sets of shingles counts them
    assert 600 < len(splits["val"]) < 850
    assert 1000 < len(splits["test"]) < 1150
