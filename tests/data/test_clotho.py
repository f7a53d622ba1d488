import csv

import pytest
import torch

from kdmm.data.audio_text import AudioTextDataModule
from kdmm.data.clotho import Clotho
from kdmm.errors import InputError
from kdmm.models.audio.waveform import Waveform
from kdmm.models.preprocess import Preprocess
from tests.data.files import Letters
from tests.data.sounds import noise, write_sounds

COLUMNS = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
SIZES = {"development": 4, "validation": 2, "evaluation": 3}


def rows(name, size):
    return [
        (f"{name} {n}.wav", f"Rain falls, {n}.", f"Wind {n} of {name}", f"Wind {n} of {name} ", "", f'A "bang" {n}')
        for n in range(size)
    ]


def write(root, sizes=SIZES, columns=COLUMNS):
    for name, size in sizes.items():
        with (root / f"clotho_captions_{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows(name, size)])
        write_sounds(root / name, [row[0] for row in rows(name, size)])
    return root


@pytest.mark.parametrize(("split", "name"), [("train", "development"), ("val", "validation"), ("test", "evaluation")])
def test_the_splits_are_its_own(tmp_path, split, name):
    source = Clotho(write(tmp_path))
    assert source.splits == ("train", "val", "test")
    samples = source.samples(split)
    assert [(sample.id, sample.captions, sample.image) for sample in samples] == [
        (f"{name} {n}.wav", (f"Rain falls, {n}.", f"Wind {n} of {name}", f'A "bang" {n}'), None)
        for n in range(SIZES[name])
    ]
    assert samples[1].origin == f"{tmp_path}/clotho_captions_{name}.csv, row 2"
    for seed, sample in enumerate(samples):
        assert sample.audio.path == f"{tmp_path}/{name}/{sample.id}"
        assert torch.equal(sample.audio.open().samples.T, torch.from_numpy(noise(0.1, seed=seed)).float())


def test_version_1_has_no_validation(tmp_path):
    source = Clotho(write(tmp_path, {"development": 2, "evaluation": 1}))
    assert source.splits == ("train", "test")
    with pytest.raises(InputError, match="no val split; it has train, test"):
        source.samples("val")


def test_batches_hold_every_caption_in_evaluation(tmp_path):
    data = AudioTextDataModule(Clotho(write(tmp_path)), 2)
    data.use({"student": Preprocess(text=Letters(), audio=Waveform(16_000, 0.05))})
    rows_of = [row for batch in data.test_dataloader() for row in zip(batch["id"], batch["caption"], strict=True)]
    expected = [(sample.id, caption) for sample in Clotho(tmp_path).samples("test") for caption in sample.captions]
    assert sorted(rows_of) == sorted(expected)
    batch = next(iter(data.test_dataloader()))
    assert torch.equal(batch["student"]["audio"][0], torch.from_numpy(noise(0.1)).float()[:800, 0])
    assert data.describe("test")["sounds"] == 3
    assert data.describe("test")["captions"] == 9


def test_what_is_missing_is_named(tmp_path):
    root = tmp_path / "clotho"
    check(lambda: Clotho(root).splits, ["Clotho.root", str(root), "no such folder"])
    root.mkdir()
    check(lambda: Clotho(root).samples("train"), ["holds none of clotho_captions_development.csv"])
    write(root)
    (root / "development" / "development 2.wav").unlink()
    check(
        lambda: Clotho(root).samples("train"),
        ["clotho_captions_development.csv, row 3", "no file", "development 2.wav'", "Did you mean"],
    )
    (root / "evaluation").rename(root / "test")
    check(lambda: Clotho(root).samples("test"), ["Clotho.root", "evaluation", "no such folder"])
    write(root, {"validation": 2}, ("file_name", *COLUMNS[1:5], "caption5"))
    check(lambda: Clotho(root).samples("val"), ["no column 'caption_5'", "Did you mean"])


def check(act, parts):
    with pytest.raises(InputError) as error:
        act()
    assert all(part in str(error.value) for part in parts), error.value
