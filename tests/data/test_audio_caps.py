import csv

import numpy as np
import pytest

from kdmm.data.audio_caps import AudioCaps
from kdmm.data.audio_text import AudioTextDataModule
from kdmm.errors import InputError
from tests.data.sounds import RATE, encoded, noise

COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
ROWS = {
    "train": [
        ("91139", "r1nicOVtvkQ", "130", "A woman talks nearby as water pours"),
        ("58146", "UDGBjjwyaqE", "20", "Multiple clanging, clanking sounds"),
        ("7", "-a_b-C0dEfG", "0", "Rain"),
    ],
    "val": [(str(n), "rqfQRErjfk8", "170", f"Crowd {n}") for n in range(5)]
    + [("9", "2ZNFXRnDY8w", "30", "Crowd 0"), ("8", "rqfQRErjfk8", "170", "Crowd 4 ")],
    "test": [("5", "zzzzzzzzzzz", "1.5", "Half a second")],
}
FILES = ["r1nicOVtvkQ_130", "UDGBjjwyaqE_20", "-a_b-C0dEfG_0", "rqfQRErjfk8_170", "2ZNFXRnDY8w_30", "zzzzzzzzzzz_1.5"]


def write_tables(folder, rows=ROWS, columns=COLUMNS):
    folder.mkdir(exist_ok=True)
    for split, own in rows.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *own])
    return folder


def write_clips(folder, names, ending="wav"):
    for seed, name in enumerate(names):
        path = folder / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(0.1, seed=seed), kind="FLOAT"))
    return folder


def read(ref):
    return ref.open().samples.numpy().T


def test_the_splits_are_its_own_and_rows_of_one_clip_are_one_sample(tmp_path):
    source = AudioCaps(write_tables(tmp_path / "tables"), write_clips(tmp_path / "audio", FILES))
    assert source.splits == ("train", "val", "test")
    found = {split: [(each.id, each.captions) for each in source.samples(split)] for split in source.splits}
    assert found == {
        "train": [
            ("r1nicOVtvkQ_130", ("A woman talks nearby as water pours",)),
            ("UDGBjjwyaqE_20", ("Multiple clanging, clanking sounds",)),
            ("-a_b-C0dEfG_0", ("Rain",)),
        ],
        "val": [
            ("rqfQRErjfk8_170", tuple(f"Crowd {n}" for n in range(5))),
            ("2ZNFXRnDY8w_30", ("Crowd 0",)),
        ],
        "test": [("zzzzzzzzzzz_1.5", ("Half a second",))],
    }
    samples = source.samples("val")
    assert samples[1].origin == f"{tmp_path}/tables/val.csv, row 6"
    assert np.array_equal(read(samples[1].audio), noise(0.1, seed=4).astype(np.float32))
    assert source.describe("val") == {"source": f"AudioCaps({str(tmp_path / 'tables')!r})", "missing": 0}


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{youtube_id}.wav", "UDGBjjwyaqE"),
        ("{split}/{youtube_id}.wav", "train/UDGBjjwyaqE"),
        ("Y{youtube_id}_{start_time:.3f}_{end_time:.3f}.wav", "YUDGBjjwyaqE_20.000_30.000"),
        ("{audiocap_id}.wav", "58146"),
    ],
)
def test_files_are_found_under_the_names_they_were_given(tmp_path, template, name):
    tables = write_tables(tmp_path / "tables", {"train": ROWS["train"][1:2]})
    source = AudioCaps(tables, write_clips(tmp_path / "audio", [name]), template)
    assert source.samples("train")[0].audio.path == f"{tmp_path}/audio/{name}.wav"


def test_clips_are_read_out_of_whole_sound_tracks(tmp_path):
    tables = write_tables(tmp_path / "tables", {"train": ROWS["train"][1:]})
    track = noise(35)
    (tmp_path / "UDGBjjwyaqE.flac").write_bytes(encoded(track, "FLAC", "PCM_24"))
    (tmp_path / "-a_b-C0dEfG.flac").write_bytes(encoded(track[: 8 * RATE], "FLAC", "PCM_24"))
    samples = AudioCaps(tables, tmp_path, "{youtube_id}.flac", whole=True).samples("train")
    assert np.abs(read(samples[0].audio) - track[20 * RATE : 30 * RATE]).max() < 2**-22
    assert np.abs(read(samples[1].audio) - track[: 8 * RATE]).max() < 2**-22  # the video ends before
    clip = AudioCaps(tables, tmp_path, "{youtube_id}.flac").samples("train")[0].audio.open()
    assert clip.samples.shape == (1, 35 * RATE)


def test_vanished_videos_stop_or_are_left_out_and_counted(tmp_path):
    tables, audio = write_tables(tmp_path / "tables"), write_clips(tmp_path / "audio", [FILES[1], FILES[4]])
    check(
        lambda: AudioCaps(tables, audio).samples("train"),
        ["train.csv, row 1", "r1nicOVtvkQ_130.wav", "2 of 3 clips", "AudioCaps.file", "missing: skip"],
    )
    source = AudioCaps(tables, audio, missing="skip")
    assert [sample.id for sample in source.samples("train")] == ["UDGBjjwyaqE_20"]
    assert [sample.id for sample in source.samples("val")] == ["2ZNFXRnDY8w_30"]
    assert source.describe("train")["missing"] == 2
    assert AudioTextDataModule(source, 1).describe("val") | {"source": ""} == {
        "source": "",
        "split": "val",
        "missing": 1,
        "samples": 1,
        "images": 0,
        "sounds": 1,
        "captions": 1,
        "concepts": 1,
    }
    check(lambda: source.samples("test"), ["test.csv, row 1", "1 of 1 clips"])  # all of them: the names are wrong


def test_a_split_is_read_without_the_files_of_the_others(tmp_path):
    source = AudioCaps(write_tables(tmp_path / "tables"), write_clips(tmp_path / "audio", FILES[5:]))
    assert len(source.samples("test")) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"file": "{ytid}.wav"}, ["AudioCaps.file", "'{ytid}.wav'", "youtube_id, start_time"]),
        ({"file": "{youtube_id"}, ["AudioCaps.file", "cannot be filled in"]),
        ({"file": "{}.wav"}, ["AudioCaps.file"]),
        ({"file": "{youtube_id:.3f}.wav"}, ["AudioCaps.file"]),
    ],
)
def test_wrong_settings_are_named(settings, said):
    check(lambda: AudioCaps("tables", "audio", **settings), said)


def test_what_is_missing_is_named(tmp_path):
    check(lambda: AudioCaps(tmp_path / "a", tmp_path).splits, ["AudioCaps.tables", "no such folder"])
    (tmp_path / "tables").mkdir()
    check(lambda: AudioCaps(tmp_path / "tables", tmp_path).splits, ["AudioCaps.tables", "train.csv, val.csv, test.csv"])
    tables = write_tables(tmp_path / "tables")
    check(lambda: AudioCaps(tables, tmp_path / "audio").samples("val"), ["AudioCaps.audio", "no such folder"])
    write_tables(tables, {"val": ROWS["val"]}, ("audiocap_id", "ytid", "start_time", "caption"))
    check(lambda: AudioCaps(tables, tmp_path).samples("val"), ["no column 'youtube_id'", "audiocap_id, ytid"])
    for start in ("soon", "-1", "nan", "inf"):
        write_tables(tables, {"val": [("1", "x", "3", "a"), ("2", "y", start, "b")]})
        check(lambda: AudioCaps(tables, tmp_path).samples("val"), ["val.csv, row 2", "start_time", repr(start)])


def check(act, parts):
    with pytest.raises(InputError) as error:
        act()
    assert all(part in str(error.value) for part in parts), error.value
