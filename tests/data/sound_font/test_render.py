import numpy as np
import pytest

from kdmm.data.sound_font.heard import heard_for
from kdmm.data.sound_font.instruments import INSTRUMENTS
from kdmm.data.sound_font.presets import read_presets
from kdmm.data.sound_font.render import render
from kdmm.data.sound_font.score import Score, play
from tests.data.sound_font.fonts import RATE, Recorded, one_tone, tone


def font(tmp_path, points, loop=None):
    """A font that plays some points on all keys, as they are on key 60."""
    zone = [] if loop is None else [(54, 1)]
    recorded = Recorded(0, len(points), loop=loop or (0, 0))
    return read_presets(one_tone(tmp_path / "a.sf2", points, recorded, zone))


def played(presets, key, held=5.0, rate=RATE, velocity=127):
    voices = presets.voices(0, 0, key, velocity)
    return render(presets.file, voices, velocity, held, 5.0, rate)


def strongest(sound, rate=RATE):
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return power.argmax() * rate / len(sound)


@pytest.mark.parametrize(("key", "hertz"), [(48, 500), (60, 1000), (67, 1000 * 2 ** (7 / 12)), (72, 2000)])
def test_a_key_plays_the_recording_at_its_pitch(tmp_path, key, hertz):
    sound = played(font(tmp_path, tone(1000, 1)), key)
    assert strongest(sound) == pytest.approx(hertz, rel=0.002)
    assert len(sound) / RATE == pytest.approx(2 ** ((60 - key) / 12), rel=0.01)


def test_the_key_of_the_recording_at_its_own_rate_gives_it_back(tmp_path):
    points = tone(1000, 0.5)
    sound = played(font(tmp_path, points), 60)
    middle = slice(2000, 6000)
    np.testing.assert_allclose(sound[middle], points[middle] / 32768, atol=0.01)


def test_a_pitch_that_the_result_cannot_hold_is_left_out_and_not_folded_back(tmp_path):
    """5 kHz two octaves up are 20 kHz, which at 16 kHz would come back as 4 kHz."""
    both = tone(5000, 2, level=0.4) + tone(500, 2, level=0.4)
    sound = played(font(tmp_path, both), 84)
    assert strongest(sound) == pytest.approx(2000, rel=0.01)
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / RATE)
    assert power[np.abs(frequency - 2000) > 200].sum() < 1e-4 * power.sum()


def test_a_loop_is_a_steady_tone(tmp_path):
    points = tone(1000, 0.1)  # 16 points a period; the loop is of fifty
    sound = played(font(tmp_path, points, loop=(800, 1600)), 60, held=2.0)
    steady = sound[1600 : 2 * RATE - 200]
    assert strongest(steady) == pytest.approx(1000, rel=0.001)
    power = np.abs(np.fft.rfft(steady * np.hanning(len(steady)))) ** 2
    frequency = np.fft.rfftfreq(len(steady), 1 / RATE)
    assert power[np.abs(frequency - 1000) > 20].sum() < 1e-4 * power.sum()  # a click would be everywhere


@pytest.mark.parametrize(("below", "heard"), [(20, 1.5), (40, 1.0)])
def test_what_is_30_db_below_the_loudest_is_no_longer_heard(tmp_path, below, heard):
    points = np.concatenate([tone(1000, 1.0), tone(1000, 0.5, level=0.5 * 10 ** (-below / 20))])
    presets = font(tmp_path, points)
    found = heard_for(presets.file, presets.voices(0, 0, 60, 100), 5.0, 5.0, 30.0)
    assert found == pytest.approx(heard, abs=0.03)


@pytest.mark.parametrize(("seconds", "duration"), [(0.9, "short"), (1.1, "long")])
def test_a_note_is_long_from_a_second_on(tmp_path, seconds, duration):
    piano = next(each for each in INSTRUMENTS if each.program == 0)
    score = Score(step=12, lengths=(3.0,), soft=(), loud=(100,), seconds=3.0)
    notes = play(font(tmp_path, tone(1000, seconds)), (piano,), score)
    assert {note.key: note.duration for note in notes}[60] == duration
