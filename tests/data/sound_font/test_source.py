import pickle
from dataclasses import replace

import numpy as np
import pytest

from kdmm.data import SoundFont
from kdmm.data.sound_font.note import Note
from kdmm.errors import InputError
from kdmm.models.files import locate
from tests.data.sound_font.fonts import PACKAGED, installed

pytestmark = installed

FEW = ["strings", "pipe"]
HERTZ = {69: 440.0, 57: 220.0, 81: 880.0}


def of(split, **settings):
    return SoundFont(families=FEW, **settings).samples(split)


def note(program, key, velocity=100, held=1.5, seconds=2, rate=16_000):
    font = str(locate(PACKAGED))
    return Note(font, 0, program, "x", key, velocity, held, seconds, rate).open().samples[0].numpy()


def energy_at(sound, hertz, rate=16_000):
    """The share of a sound's power within 3 % of a fundamental and its overtones."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / rate)
    order = np.maximum(1, np.round(frequency / hertz))
    return power[np.abs(frequency / (order * hertz) - 1) < 0.03 / order].sum() / power.sum()


@pytest.mark.parametrize("held_out", ["pitch", "velocity", "instrument"])
def test_each_note_is_on_one_side_and_what_is_held_out_is_never_heard_in_training(held_out):
    attribute = {"pitch": "key", "velocity": "velocity", "instrument": "instrument"}[held_out]
    whole = {sample.id for split in ("train", "val", "test") for sample in of(split, held_out=held_out)}
    tested: list[str] = []
    for fold in range(5):
        parts = {split: of(split, held_out=held_out, fold=fold) for split in ("train", "val", "test")}
        ids = {split: {sample.id for sample in some} for split, some in parts.items()}
        assert ids["train"] | ids["val"] | ids["test"] == whole
        assert sum(map(len, ids.values())) == len(whole)
        heard = {split: {sample.labels[attribute] for sample in some} for split, some in parts.items()}
        assert not heard["train"] & (heard["val"] | heard["test"])
        assert not heard["val"] & heard["test"]
        assert len({sample.group for sample in parts["train"]} & {sample.group for sample in parts["test"]}) == 0
        tested += ids["test"]
    assert len(tested) == len(set(tested))
    assert set(tested) | {sample.id for sample in of("val", held_out=held_out)} == whole


def test_captions_and_labels_say_what_is_played():
    names = SoundFont(families=FEW)
    for sample in of("train"):
        words = {label: names.class_names(label)[sample.labels[label]] for label in names.classes}
        key = sample.labels["key"]
        assert words["register"] == ("low" if key < 53 else "middle" if key < 72 else "high")
        assert words["loudness"] == ("soft" if sample.labels["velocity"] < 60 else "loud")
        assert sample.group == f"{words['instrument']}, key {key}"
        assert sample.id == f"{sample.group}, velocity {sample.labels['velocity']}, {sample.audio.held:g} s"
        for caption in sample.captions:
            assert words["instrument"] in caption
            assert words["register"] in caption
            assert words["duration"] in caption
        assert len(set(sample.captions)) == 3


def test_a_long_note_is_heard_for_a_second_and_a_short_one_is_not():
    names = SoundFont(families=FEW).class_names("duration")
    for sample in of("test")[::7]:
        sound = sample.audio.open().samples[0].numpy()
        frames = np.square(sound[: len(sound) // 320 * 320]).reshape(-1, 320).mean(1)  # 20 ms each
        last = np.flatnonzero(frames > frames.max() * 10**-3)[-1] * 0.02
        if names[sample.labels["duration"]] == "long":
            assert last > 0.85
        else:
            assert last < 1.15


@pytest.mark.parametrize("key", HERTZ)
@pytest.mark.parametrize("program", [40, 71, 74])  # violin, clarinet, recorder: one pitch at a time
def test_a_note_has_the_pitch_of_its_key(program, key):
    sound = note(program, key)
    right = energy_at(sound, HERTZ[key])
    assert right > 0.9
    for cents in (-100, 100):  # a semitone beside, hardly anything
        assert energy_at(sound, HERTZ[key] * 2 ** (cents / 1200)) < right / 2


def test_a_harder_strike_is_louder_by_the_square_of_its_velocity():
    soft, loud = (np.square(note(19, 60, velocity)).mean() ** 0.5 for velocity in (40, 80))
    assert loud / soft == pytest.approx(4, rel=1e-4)


def test_a_note_that_is_held_longer_sounds_longer_and_is_cut_at_the_limit():
    short, long = note(19, 60, held=0.4), note(19, 60, held=1.5)
    assert len(short) < len(long)
    assert len(note(19, 60, held=9.0, seconds=1.25)) == 1.25 * 16_000


def test_a_loop_goes_on_without_a_click():
    sound = note(19, 60, held=2, seconds=2)[8000:24000]
    steps = np.abs(np.diff(sound))
    assert steps.max() < 4 * np.sqrt(np.square(steps).mean())


def test_it_is_the_same_again_and_after_pickling():
    source = SoundFont(families=FEW)
    samples = source.samples("test")
    again = pickle.loads(pickle.dumps(source)).samples("test")
    assert samples == again
    clip = samples[0].audio.open()
    assert (clip.samples == again[0].audio.open().samples).all()
    assert clip.rate == 16_000
    assert clip.samples.abs().max() <= 1
    assert samples[0].audio.identity() != replace(samples[0].audio, velocity=7).identity()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"families": ["string"]}, r"SoundFont\.families: unknown 'string'.*strings"),
        ({"fold": 5}, r"SoundFont\.fold: 5 given; the folds are 0 to 4"),
        ({"captions": 4}, r"SoundFont\.captions"),
        ({"soft": [100], "loud": [90]}, "the captions would be wrong"),
        ({"lengths": []}, r"SoundFont\.lengths"),
        ({"held_out": "velocity", "soft": [20], "loud": [100]}, "one of them needs 6 or more"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        SoundFont(**settings)


def test_a_file_that_is_no_sound_font_is_named(tmp_path):
    path = tmp_path / "a.sf2"
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.sf2': the file is empty"):
        SoundFont(path=path).samples("train")
