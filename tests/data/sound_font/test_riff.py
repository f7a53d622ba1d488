import struct

import numpy as np
import pytest

from kdmm.data.sound_font.riff import read_font_file
from kdmm.errors import InputError
from tests.data.sound_font.fonts import Recorded, assembled, installed, keys, parts, real_font

RECORDINGS = [Recorded(0, 4, name="first"), Recorded(4, 10, loop=(5, 9), rate=22050, key=69, correction=-7)]
INSTRUMENTS = [[[keys(0, 59), (53, 0)], [keys(60, 127), (54, 1), (53, 1)]]]
PRESETS = [("Violin", 0, 40, [[(41, 0)]]), ("Drums", 128, 0, [[(48, -25)], [(41, 0)]])]


@pytest.fixture
def chunks():
    return parts(range(-5, 5), RECORDINGS, INSTRUMENTS, PRESETS)


def read(path, data):
    path.write_bytes(data)
    return read_font_file(str(path))


def test_every_table_is_read_as_it_was_written(tmp_path, chunks):
    font = read(tmp_path / "a.sf2", assembled(chunks))
    assert font.points.tolist() == list(range(-5, 5))
    tables = {name: table.tolist() for name, table in font.tables.items()}
    assert [row[:4] for row in tables["phdr"]] == [(b"Violin", 40, 0, 0), (b"Drums", 0, 128, 1), (b"EOP", 0, 0, 3)]
    assert [row[0] for row in tables["pbag"]] == [0, 1, 2, 3]
    assert tables["pgen"] == [(41, 0), (48, -25), (41, 0), (0, 0)]
    assert tables["inst"] == [(b"instrument", 0), (b"instrument", 2)]
    assert [row[0] for row in tables["ibag"]] == [0, 2, 5]
    assert tables["igen"] == [(43, 59 << 8), (53, 0), (43, 127 << 8 | 60), (54, 1), (53, 1), (0, 0)]
    assert tables["shdr"][1] == (b"tone", 4, 10, 5, 9, 22050, 69, -7, 0, 1)


def test_chunks_of_odd_length_and_unknown_ones_are_passed_over(tmp_path, chunks):
    font = read(tmp_path / "a.sf2", assembled({"xxxx": b"odd", **chunks, "sm24": b"12345"}))
    assert font.tables["phdr"]["name"].tolist() == [b"Violin", b"Drums", b"EOP"]


def test_the_digest_is_of_the_content(tmp_path, chunks):
    first = read(tmp_path / "a.sf2", assembled(chunks))
    same = read(tmp_path / "b.sf2", assembled(chunks))
    other = read(tmp_path / "c.sf2", assembled({**chunks, "smpl": b"\1\0" * 10}))
    assert first.digest == same.digest != other.digest


def test_a_file_is_read_again_when_it_has_changed(tmp_path, chunks):
    path = tmp_path / "a.sf2"
    first = read(path, assembled(chunks))
    assert read_font_file(str(path)) is first
    assert read(path, assembled({**chunks, "xxxx": b"more"})) is not first


def test_a_file_cut_off_anywhere_is_an_error(tmp_path, chunks):
    whole = assembled(chunks)
    path = tmp_path / "a.sf2"
    for size in range(len(whole)):
        with pytest.raises(InputError) as error:
            read(path, whole[:size])
        said = "the file is empty" if size == 0 else "this is no sound font" if size < 12 else f"{size} are left"
        assert said in str(error.value)
        assert str(path) not in str(error.value)


@pytest.mark.parametrize("name", ["smpl", "phdr", "pbag", "pgen", "inst", "ibag", "igen", "shdr"])
def test_a_missing_chunk_is_named(tmp_path, chunks, name):
    del chunks[name]
    with pytest.raises(InputError, match=f"no chunk '{name}'"):
        read(tmp_path / "a.sf2", assembled(chunks))


@pytest.mark.parametrize("name", ["phdr", "pbag", "pgen", "inst", "ibag", "igen", "shdr"])
@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: b""])
def test_a_table_of_a_broken_length_is_named(tmp_path, chunks, name, change):
    chunks[name] = change(chunks[name])
    with pytest.raises(InputError, match=f"its chunk '{name}' has {len(chunks[name])} bytes"):
        read(tmp_path / "a.sf2", assembled(chunks))


@pytest.mark.parametrize(
    "data", [b"RIFF\4\0\0\0WAVE", b"PK\3\4" + b"\0" * 40, b"\x89PNG\r\n\x1a\n", b"RIFX\4\0\0\0sfbk"]
)
def test_another_kind_of_file_is_an_error(tmp_path, data):
    with pytest.raises(InputError, match="this is no sound font: it begins with"):
        read(tmp_path / "a.sf2", data)


def test_a_compressed_sound_font_is_an_error(tmp_path, chunks):
    with pytest.raises(InputError, match="of version 3; version 2"):
        read(tmp_path / "a.sf3", assembled({**chunks, "ifil": struct.pack("<HH", 3, 0)}))


def test_a_chunk_longer_than_the_file_is_an_error(tmp_path, chunks):
    whole = bytearray(assembled(chunks))
    place = whole.index(b"pgen")
    whole[place + 4 : place + 8] = struct.pack("<I", 10**6)
    with pytest.raises(InputError, match="its chunk 'pgen' is longer"):
        read(tmp_path / "a.sf2", bytes(whole))


@pytest.mark.parametrize(("table", "other", "offset", "size"), [("phdr", "pbag", 24, 38), ("pbag", "pgen", 0, 4)])
@pytest.mark.parametrize("number", [900, 2])
def test_a_reference_to_a_row_that_is_not_there_is_an_error(tmp_path, chunks, table, other, offset, size, number):
    rows = bytearray(chunks[table])
    rows[offset : offset + 2] = struct.pack("<H", number)  # the first row's: beyond the table, or after the second's
    with pytest.raises(InputError, match=f"a row of '{table}' points outside '{other}'"):
        read(tmp_path / "a.sf2", assembled({**chunks, table: bytes(rows)}))


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        (Recorded(4, 11), r"recording 0 \('tone'\) is points 4 to 11 of 10"),
        (Recorded(5, 4), "points 5 to 4 of 10"),
        (Recorded(0, 4, rate=0), "at 0 Hz"),
        (Recorded(0, 4, kind=0x8001), "synthesizer's memory"),
    ],
)
def test_a_recording_that_is_not_there_is_named(tmp_path, recording, said):
    broken = assembled(parts(range(10), [recording, RECORDINGS[1]], INSTRUMENTS, PRESETS))
    with pytest.raises(InputError, match=said):
        read(tmp_path / "a.sf2", broken)


def test_a_folder_or_no_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match="folder"):
        read_font_file(str(tmp_path))
    with pytest.raises(InputError, match="no such file"):
        read_font_file(str(tmp_path / "none.sf2"))


@installed
def test_the_packaged_sound_font_holds_what_the_documentation_says():
    font = read_font_file(real_font())
    presets, recordings = font.tables["phdr"][:-1], font.tables["shdr"][:-1]
    assert len(recordings) == 520
    assert np.bincount(presets["bank"]).nonzero()[0].tolist() == [0, 128]
    assert sorted(presets["program"][presets["bank"] == 0].tolist()) == list(range(128))
    assert (presets["bank"] == 128).sum() == 8
    seconds = (recordings["end"].astype(float) - recordings["start"]) / recordings["rate"]
    assert 80 < seconds.sum() < 140
