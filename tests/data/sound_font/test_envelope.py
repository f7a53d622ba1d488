import math

import numpy as np
import pytest

from kdmm.data.sound_font.envelope import Envelope

ENVELOPE = Envelope(delay=0.1, attack=0.2, hold=0.3, decay=2.0, sustain=20.0, release=0.5)


def at(envelope, seconds, held, stage="volume"):
    return float(getattr(envelope, stage)(np.array([seconds], np.float32), held)[0])


@pytest.mark.parametrize(
    ("seconds", "amplitude"),
    [
        (0.0, 0),
        (0.1, 0),
        (0.15, 0.25),
        (0.3, 1),
        (0.6, 1),
        (0.8, 10 ** (-10 / 20)),  # 100 dB in 2 s: 10 dB in 0.2 s
        (1.0, 10 ** (-20 / 20)),
        (1.9, 0.1),
        (2.0, 0.1),
        (2.05, 0.1 * 10 ** (-10 / 20)),  # let go at 2 s: 100 dB in 0.5 s
        (2.1, 0.1 * 10 ** (-20 / 20)),
    ],
)
def test_volume_at_each_stage(seconds, amplitude):
    assert at(ENVELOPE, seconds, held=2.0) == pytest.approx(amplitude, abs=1e-5)


@pytest.mark.parametrize(("held", "reached"), [(0.2, 0.5), (0.5, 1), (0.7, 10 ** (-5 / 20)), (0.05, 0)])
def test_the_release_begins_at_the_level_that_was_reached(held, reached):
    assert at(ENVELOPE, held, held) == pytest.approx(reached, abs=1e-5)
    assert at(ENVELOPE, held + 0.1, held) == pytest.approx(reached * 0.1, abs=1e-5)


@pytest.mark.parametrize(
    ("seconds", "value"), [(0.1, 0), (0.2, 0.5), (0.4, 1), (0.6, 1), (1.1, 0.75), (3.0, 0.2), (3.1, 0), (2.99, 0.2)]
)
def test_modulation_is_linear(seconds, value):
    envelope = Envelope(delay=0.1, attack=0.2, hold=0.3, decay=2.0, sustain=0.8, release=0.5)
    assert at(envelope, seconds, 3.0, "modulation") == pytest.approx(value if seconds < 3.05 else 0, abs=1e-5)


def test_modulation_falls_from_where_the_key_is_let_go():
    envelope = Envelope(delay=0.1, attack=0.2, hold=0.3, decay=2.0, sustain=0.8, release=0.5)
    assert at(envelope, 1.2, 1.1, "modulation") == pytest.approx(0.75 - 0.2, abs=1e-5)


@pytest.mark.parametrize("lost_db", [5, 15, 25, 60])
@pytest.mark.parametrize("held", [0.2, 0.5, 0.8, 3.0])
@pytest.mark.parametrize("sustain", [0, 20, 100])
def test_how_long_it_lasts_is_where_the_volume_gets_there(lost_db, held, sustain):
    envelope = Envelope(0.1, 0.2, 0.3, 2.0, sustain, 0.5)
    times = np.arange(0, 8, 1e-4, dtype=np.float32)
    loud = times[envelope.volume(times, held) > 10 ** (-lost_db / 20)]
    expected = loud.max() if len(loud) else held
    assert envelope.lasts(held, lost_db) == pytest.approx(expected, abs=3e-4)


def test_what_is_let_go_before_it_begins_lasts_no_longer():
    assert ENVELOPE.lasts(0.05, 60) == 0.05
    assert math.isfinite(ENVELOPE.lasts(0.1, 60))
