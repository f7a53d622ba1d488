import importlib
import os
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import soundfile
import torch

from kdmm.data.audio_ref import LONGEST_S, AudioRef
from kdmm.errors import InputError
from tests.data.sounds import RATE, encoded, noise, tones

EXACT = [  # format, subtype, channels, rate, half a step of its samples
    ("WAV", "PCM_U8", 1, 8_000, 2**-8),
    ("WAV", "PCM_16", 2, 44_100, 2**-16),
    ("WAV", "PCM_24", 6, 96_000, 2**-24),
    ("WAV", "PCM_32", 1, 48_000, 2**-32),
    ("WAV", "FLOAT", 2, 22_050, 0),
    ("WAV", "DOUBLE", 1, RATE, 0),
    ("WAVEX", "PCM_16", 6, 48_000, 2**-16),
    ("FLAC", "PCM_16", 2, 44_100, 2**-16),
    ("FLAC", "PCM_24", 1, 96_000, 2**-24),
    ("AIFF", "PCM_16", 2, RATE, 2**-16),
]


@pytest.mark.parametrize(("form", "kind", "channels", "rate", "half_step"), EXACT)
def test_the_samples_are_those_written(tmp_path, form, kind, channels, rate, half_step):
    written = noise(0.1, channels, rate)
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(written, form, kind, rate))
    clip = AudioRef(str(path)).open()
    assert (clip.rate, clip.samples.dtype, clip.samples.shape) == (rate, torch.float32, (channels, len(written)))
    # Half a step of rounding, another half where the writer rounds down, and float32's own.
    assert np.abs(clip.samples.numpy().T - written).max() <= 2 * half_step + 2**-24
    for same in (
        AudioRef("a", path.read_bytes()),
        AudioRef("a", pyarrow.py_buffer(path.read_bytes())),
        pickle.loads(pickle.dumps(AudioRef("a", pyarrow.py_buffer(path.read_bytes())))),
    ):
        assert torch.equal(same.open().samples, clip.samples)


@pytest.mark.parametrize(("form", "kind"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_formats_keep_length_channels_and_sound(form, kind):
    written = tones(2, 2, 48_000)
    clip = AudioRef("a", encoded(written, form, kind, 48_000)).open()
    assert (clip.rate, clip.samples.shape) == (48_000, (2, 96_000))
    error = (clip.samples.numpy().T - written)[2_000:-2_000]  # a tone's sudden ends are no tone
    assert np.sqrt((error**2).mean()) < 0.01  # of an amplitude of 0.5


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.txt", "a"])
def test_the_content_tells_the_format(tmp_path, form, name):
    data = encoded(tones(1, 1), form)
    (tmp_path / name).write_bytes(data)
    assert torch.equal(AudioRef(str(tmp_path / name)).open().samples, AudioRef("x", data).open().samples)


def test_silence_is_a_sound():
    clip = AudioRef("a", encoded(np.zeros((1000, 2)))).open()
    assert torch.equal(clip.samples, torch.zeros(2, 1000))


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_stretch_is_that_part_of_the_whole(form):
    data = encoded(noise(3, 2, 44_100), form, rate=44_100)
    whole = AudioRef("a", data).open().samples
    for start, seconds in ((0, 1), (0.5, 0.25), (1.2345, 0.5), (1, 1e-9)):
        first, count = round(start * 44_100), max(1, round(seconds * 44_100))
        part = AudioRef("a", data, start_s=start, seconds=seconds).open()
        assert torch.equal(part.samples, whole[:, first : first + count])
    assert AudioRef("a", data, start_s=2.5, seconds=10).open().samples.shape == (2, 22_050)
    assert AudioRef("a", data, start_s=2).open().samples.shape == (2, 44_100)
    with pytest.raises(InputError, match="the sound ends after 3 s, and is to be read from 3 s on"):
        AudioRef("a", data, start_s=3).open()


HOURS = 3 * 3600  # seconds


def write_long_flac(path):
    with soundfile.SoundFile(path, "w", 8_000, 1, format="FLAC") as file:
        for _ in range(HOURS // 600):
            file.write(np.zeros(8_000 * 600, dtype=np.int16))
    return 8_000, 1


def write_long_wav(path):
    """Write silence that takes no place on the disk."""
    path.write_bytes(encoded(np.zeros((1, 2)), rate=44_100))
    data = HOURS * 44_100 * 4
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", data + 36))
        file.seek(40)
        file.write(struct.pack("<I", data))
        file.truncate(44 + data)
    return 44_100, 2


@pytest.mark.parametrize("write", [write_long_flac, write_long_wav])
@pytest.mark.parametrize(("start", "seconds", "expected"), [(0, None, LONGEST_S), (2 * 3600, 20, 20)])
def test_three_hours_do_not_fill_the_memory(tmp_path, write, start, seconds, expected):
    rate, channels = write(tmp_path / "a")
    assert soundfile.info(tmp_path / "a").duration == HOURS
    tracemalloc.start()
    try:
        clip = AudioRef(str(tmp_path / "a"), start_s=start, seconds=seconds).open()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert clip.samples.shape == (channels, expected * rate)
    assert not clip.samples.any()
    assert peak < 2.5 * clip.samples.nbytes + 2**20  # decoded, and in the order of channels


def with_size(data, at, size):
    return data[:at] + struct.pack("<I", size) + data[at + 4 :]


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000])
def test_a_wav_from_a_pipe_does_not_know_its_length(size):
    data = encoded(noise())
    streamed = with_size(data, 40, size)
    assert torch.equal(AudioRef("a", streamed).open().samples, AudioRef("a", data).open().samples)


def test_a_flac_from_a_pipe_does_not_know_its_length():
    data = bytearray(encoded(noise(), "FLAC"))
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that number the samples
    data[22:26] = bytes(4)
    with pytest.raises(InputError, match="does not state its length"):
        AudioRef("a", bytes(data)).open()


def test_an_mp3_without_a_header_states_its_length_roughly():
    """The first frame that LAME writes holds no sound but the length; files that were cut have none."""
    data = encoded(noise(2, 2, 44_100), "MP3", rate=44_100, bitrate_mode="CONSTANT", compression_level=0.5)
    assert data[36:40] == b"Info"
    kilobits = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[data[2] >> 4]
    frame = 144_000 * kilobits // 44_100 + (data[2] >> 1 & 1)
    clip = AudioRef("a", data[frame:]).open()
    assert abs(clip.seconds - 2) < 0.1


def pages(data):
    """Return where the pages of an Ogg begin."""
    return [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_a_file_that_is_cut_is_refused(form):
    data = encoded(noise(2, 2), form)
    sizes = {*range(50, len(data), len(data) // 23), len(data) - 100, len(data) - 2}
    if form == "OGG":
        sizes |= set(pages(data)[1:])
    for size in sizes:
        with pytest.raises(InputError, match=r"cut off|broken|no sound|no samples"):
            AudioRef("a", data[:size]).open()


def test_an_mp3_that_is_cut_is_refused_where_more_than_a_second_is_missing():
    data = encoded(noise(4, 2, 44_100), "MP3", rate=44_100)
    for share in (0.1, 0.3, 0.5, 0.7):
        with pytest.raises(InputError, match="cut off"):
            AudioRef("a", data[: int(share * len(data))]).open()
    clip = AudioRef("a", data[: int(0.9 * len(data))]).open()
    assert 3 < clip.seconds < 4


def floats(value, kind="FLOAT"):
    samples = noise()
    samples[100, 0] = value
    return encoded(samples, kind=kind)


BROKEN = {
    "missing": (None, "there is no such file"),
    "empty": (b"", "the file is empty"),
    "text": (b"this is no sound\n" * 100, "no sound that can be read"),
    "html": (b"<html>not found</html>", "no sound that can be read"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(1000), "no sound that can be read"),
    "zeros": (bytes(5000), "no sound that can be read"),
    "nothing but Ogg's mark": (b"OggS" + bytes(100), "no sound that can be read"),
    "nothing but FLAC's mark": (b"fLaC" + bytes(100), "no sound that can be read"),
    "one frame of MP3": (b"\xff\xfb\x90\x64" + b"noise" * 100, "no sound that can be read"),
    "half a header": (encoded(noise())[:30], "broken: Error in WAV file"),
    "WAV in the middle": (encoded(noise())[:5000], "cut off"),
    "OGG in the middle": (encoded(noise(3), "OGG")[:8000], "cut off"),
    "no samples": (encoded(np.zeros((0, 1))), "the sound has no samples"),
    "a header of no samples": (with_size(encoded(noise()), 40, 0), "the sound has no samples"),
    "no rate": (with_size(encoded(noise()), 24, 0), "broken"),
    "no channels": (encoded(noise())[:22] + b"\0\0" + encoded(noise())[24:], "broken: Channel count is zero"),
    "not a number": (floats(np.nan), "no finite numbers"),
    "infinite": (floats(-np.inf), "no finite numbers"),
    "beyond float32": (floats(1e300, "DOUBLE"), "no finite numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_file_is_refused_with_the_reason(tmp_path, name):
    content, said = BROKEN[name]
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        AudioRef(str(path)).open()
    assert str(path) not in str(error.value)
    if content is not None:
        with pytest.raises(InputError, match=said):
            AudioRef("a.wav", content).open()


def test_other_things_are_no_sound_files(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="folder"):
        AudioRef(str(tmp_path)).open()
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(InputError, match="cannot be opened"):
            AudioRef(str(tmp_path / name)).open()
    path = tmp_path / "a.raw"
    path.write_bytes(encoded(noise()))
    with pytest.raises(InputError, match=r"\.raw stands for samples without a header"):
        AudioRef(str(path)).open()
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything

        def refuse(*_):
            raise PermissionError

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="may not be read"):
        AudioRef(str(path)).open()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_damage_anywhere_gives_a_reason_or_finite_samples(form):
    data = encoded(noise(0.3, 2), form)
    draw = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        damaged = bytearray(data)
        for at in draw.integers(0, min(len(data), 400) if draw.random() < 0.5 else len(data), 3):
            damaged[at] = draw.integers(256)
        try:
            clip = AudioRef("a", bytes(damaged)).open()
        except InputError:
            refused += 1
        else:
            assert torch.isfinite(clip.samples).all()
            assert clip.seconds <= LONGEST_S + 1 / clip.rate
    assert refused > 0


def test_the_identity_changes_with_the_sound_and_the_stretch(tmp_path):
    path = tmp_path / "a.wav"
    found = {AudioRef(str(path)).identity()}
    for seed in (0, 1):
        data = encoded(noise(0.1 + seed, seed=seed))
        path.write_bytes(data)
        for stretch in ({}, {"start_s": 1}, {"start_s": 1, "seconds": 2}, {"seconds": 2}, {"seconds": 1}):
            found.add(AudioRef(str(path), **stretch).identity())
            assert AudioRef(str(path), **stretch).identity() == AudioRef("a", data, **stretch).identity()
    assert len(found) == 1 + 2 * 5
    assert AudioRef("a", data).identity() == AudioRef("a", pyarrow.py_buffer(data)).identity()


@pytest.mark.parametrize(
    ("stretch", "said"),
    [
        ({"start_s": -1}, "AudioRef.start_s: -1 given"),
        ({"start_s": float("nan")}, "AudioRef.start_s: nan given"),
        ({"seconds": 0}, "AudioRef.seconds: 0 given"),
        ({"seconds": float("inf")}, "AudioRef.seconds: inf given"),
    ],
)
def test_wrong_stretches_are_named(stretch, said):
    with pytest.raises(InputError, match=said):
        AudioRef("a.wav", **stretch)


@pytest.mark.parametrize("error", [ImportError, OSError])
def test_a_missing_package_is_named_with_the_command(monkeypatch, error):
    """It is raised where a source is read, before any sample could be left out as bad."""

    def no_package(name, *rest, **others):
        if name == "soundfile":
            raise error(name)
        return real(name, *rest, **others)

    ref, real = AudioRef("a.wav"), importlib.import_module
    monkeypatch.setattr(importlib, "import_module", no_package)
    for act in (ref.open, lambda: AudioRef("a.wav")):
        with pytest.raises(InputError, match=r"soundfile: pip install 'kdmm\[audio\]'"):
            act()
