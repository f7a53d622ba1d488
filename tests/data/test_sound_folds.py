import csv
import pickle

import pytest
import torch

from kdmm.data.audio_text import AudioTextDataModule
from kdmm.data.esc50 import Esc50
from kdmm.data.urban_sound import UrbanSound8K
from kdmm.errors import InputError
from kdmm.metrics import ZeroShot
from kdmm.models.audio.waveform import Waveform
from kdmm.models.preprocess import Preprocess
from tests.data.files import Letters
from tests.data.sounds import noise, write_sounds

ESC50_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
URBAN_COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
ESC50_NAMES = ("dog", "clock_alarm", "sea_waves")
URBAN_NAMES = ("air_conditioner", "siren")


def esc50_rows():
    """Return two clips of one recording a class and fold, named as in ESC-50."""
    return [
        (f"{fold}-{100 * fold + target}-{take}-{target}.wav", fold, target, name, "False", 100 * fold + target, take)
        for fold in range(1, 6)
        for target, name in enumerate(ESC50_NAMES)
        for take in "AB"
    ]


def urban_rows():
    return [
        (f"{10 * fold + number}-{number}-0-0.wav", 10 * fold + number, 0, 4, 1, fold, number, name)
        for fold in range(1, 11)
        for number, name in enumerate(URBAN_NAMES)
    ]


def write_table(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def write_esc50(root, rows):
    write_table(root / "meta" / "esc50.csv", ESC50_COLUMNS, rows)
    write_sounds(root / "audio", [row[0] for row in rows])
    return root


def write_urban(root, rows):
    write_table(root / "metadata" / "UrbanSound8K.csv", URBAN_COLUMNS, rows)
    write_sounds(root / "audio", [f"fold{row[5]}/{row[0]}" for row in rows])
    return root


@pytest.fixture(scope="module")
def esc50(tmp_path_factory):
    return write_esc50(tmp_path_factory.mktemp("ESC-50-master"), esc50_rows())


@pytest.fixture(scope="module")
def urban(tmp_path_factory):
    return write_urban(tmp_path_factory.mktemp("UrbanSound8K"), urban_rows())


def ids(source):
    return {split: [sample.id for sample in source.samples(split)] for split in source.splits}


@pytest.mark.parametrize("fold", range(1, 6))
def test_each_fold_of_esc50_is_tested_by_training_on_the_other_four(esc50, fold):
    own = [row[0] for row in esc50_rows() if row[1] == fold]
    others = [row[0] for row in esc50_rows() if row[1] != fold]
    source = Esc50(esc50, fold=fold)
    assert ids(source) == {"train": others, "test": own}
    assert source.describe("test") == {"source": f"Esc50({str(esc50)!r})", "fold": fold}


@pytest.mark.parametrize("fold", [1, 10])
def test_each_fold_of_urban_sound_is_tested_by_training_on_the_other_nine(urban, fold):
    files = {number: [row[0] for row in urban_rows() if row[5] == number] for number in range(1, 11)}
    others = [file for number, own in files.items() for file in own if number != fold]
    assert ids(UrbanSound8K(urban, fold)) == {"train": others, "test": files[fold]}


def test_a_further_fold_is_for_validation(esc50):
    source = Esc50(esc50, fold=2, val_fold=5)
    rows = esc50_rows()
    assert ids(source) == {
        "train": [row[0] for row in rows if row[1] in (1, 3, 4)],
        "val": [row[0] for row in rows if row[1] == 5],
        "test": [row[0] for row in rows if row[1] == 2],
    }


def test_samples_of_esc50(esc50):
    samples = Esc50(esc50, fold=3).samples("test")
    assert [sample.labels for sample in samples] == [{"category": n} for n in (0, 0, 1, 1, 2, 2)]
    assert [sample.captions[0] for sample in samples] == ["dog"] * 2 + ["clock alarm"] * 2 + ["sea waves"] * 2
    assert all(len(sample.captions) == 1 for sample in samples)
    assert [sample.group for sample in samples] == ["300", "300", "301", "301", "302", "302"]
    assert samples[2].origin == f"{esc50}/meta/esc50.csv, row 15"
    assert samples[2].audio.path == f"{esc50}/audio/3-301-A-1.wav"
    assert torch.equal(samples[2].audio.open().samples.T, torch.from_numpy(noise(0.1, seed=14)).float())


def test_samples_of_urban_sound(urban):
    samples = UrbanSound8K(urban, fold=10).samples("test")
    assert [(sample.captions, sample.labels["category"], sample.group) for sample in samples] == [
        (("air conditioner",), 0, "100"),
        (("siren",), 1, "101"),
    ]
    assert samples[1].audio.path == f"{urban}/audio/fold10/101-1-0-0.wav"
    assert torch.equal(samples[1].audio.open().samples.T, torch.from_numpy(noise(0.1, seed=19)).float())


def test_class_names_are_words_in_the_order_of_the_label(esc50, urban, tmp_path):
    assert Esc50(esc50).class_names("category") == ("dog", "clock alarm", "sea waves")
    assert UrbanSound8K(urban).class_names("category") == ("air conditioner", "siren")
    metric = ZeroShot(Esc50(esc50).class_names("category"), ["the sound of {}"], "category", k=(1,), modality="audio")
    assert metric.class_names == ("dog", "clock alarm", "sea waves")
    shuffled = write_esc50(tmp_path, esc50_rows()[::-1])
    assert Esc50(shuffled).class_names("category") == ("dog", "clock alarm", "sea waves")


def test_captions_come_from_a_template(esc50):
    source = Esc50(esc50, caption="the sound of {}")
    assert source.samples("train")[2].captions == ("the sound of clock alarm",)
    assert [sample.captions for sample in Esc50(esc50, caption=None).samples("test")] == [()] * 6


def test_a_source_is_its_settings(esc50):
    source = Esc50(esc50)
    source.samples("train")
    copy = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 500
    assert ids(copy) == ids(source)


def test_batches_hold_the_sounds_and_the_classes(esc50):
    data = AudioTextDataModule(Esc50(esc50, val_fold=2, caption="the sound of {}"), 4)
    preprocess = Waveform(16_000, 0.1)
    data.use({"student": Preprocess(text=Letters(), audio=preprocess)})
    batch = next(iter(data.val_dataloader()))
    samples = Esc50(esc50, val_fold=2).samples("val")
    assert batch["id"] == [sample.id for sample in samples[: len(batch["id"])]]
    assert batch["category"].tolist() == [sample.labels["category"] for sample in samples[: len(batch["id"])]]
    assert batch["caption"][0] == "the sound of dog"
    for row, sample in zip(batch["student"]["audio"], samples, strict=False):
        assert torch.equal(row, sample.audio.open().samples[0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fold": 0}, ["Esc50.fold", "0", "1 to 5"]),
        ({"fold": 6}, ["Esc50.fold", "6", "1 to 5"]),
        ({"val_fold": 9}, ["Esc50.val_fold", "9", "1 to 5"]),
        ({"fold": 4, "val_fold": 4}, ["Esc50.val_fold", "4 is the test fold"]),
        ({"caption": "a sound"}, ["Esc50.caption", "'a sound'", "as one {}"]),
        ({"caption": "{category}"}, ["Esc50.caption", "'{category}'"]),
        ({"caption": "{} and {}"}, ["Esc50.caption"]),
    ],
)
def test_wrong_settings_are_named(settings, said):
    check(lambda: Esc50("folder", **settings), said)


def test_urban_sound_has_ten_folds():
    UrbanSound8K("folder", fold=10)
    check(lambda: UrbanSound8K("folder", fold=11), ["UrbanSound8K.fold", "11", "1 to 10"])


def test_what_is_missing_is_named(tmp_path):
    root = tmp_path / "ESC-50-master"
    check(lambda: Esc50(root).samples("train"), ["Esc50.root", str(root), "no such folder"])
    root.mkdir()
    check(lambda: Esc50(tmp_path / "ESC50-master").samples("train"), ["Did you mean 'ESC-50-master'?"])
    check(lambda: Esc50(root).class_names("category"), ["Esc50.root", "esc50.csv", "no such file"])
    write_esc50(root, esc50_rows())
    check(lambda: Esc50(root / "meta" / "esc50.csv").samples("train"), ["a file, a folder is needed"])
    (root / "audio" / "1-101-B-1.wav").unlink()
    check(lambda: Esc50(root).samples("test"), ["esc50.csv, row 4", "no file", "1-101-B-1.wav", "Did you mean"])
    assert len(Esc50(root).samples("train")) == 24  # of the other folds


ROW = ["1-1-A-0.wav", "1", "0", "dog", "False", "1", "A"]
OTHER = ["2-2-A-0.wav", "2", "0", "dog", "False", "2", "A"]
BROKEN = {
    "no fold": (["a.wav", "x", "0", "dog", "", "1", ""], ["row 3", "'fold'", "'x'", "no whole number"]),
    "unknown fold": (["a.wav", "6", "0", "dog", "", "1", ""], ["row 3", "the fold is 6", "1 to 5"]),
    "no class": (["a.wav", "1", "", "dog", "", "1", ""], ["row 3", "'target'", "''"]),
    "two names": (["a.wav", "1", "0", "cat", "", "1", ""], ["row 3", "the class 0 is 'cat', and 'dog' above"]),
    "a gap": (["a.wav", "1", "2", "cat", "", "1", ""], ["2 classes are numbered 0, 2"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_named(tmp_path, name):
    row, said = BROKEN[name]
    check(lambda: Esc50(write_esc50(tmp_path, [ROW, OTHER, row])).samples("train"), said)


def test_a_missing_column_is_named(tmp_path):
    write_table(tmp_path / "meta" / "esc50.csv", ("filename", "fold", "target", "class", "src_file"), [["a"] * 5])
    check(lambda: Esc50(tmp_path).samples("train"), ["no column 'category'", "filename, fold, target, class"])


def check(act, parts):
    with pytest.raises(InputError) as error:
        act()
    assert all(part in str(error.value) for part in parts), error.value
