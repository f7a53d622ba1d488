"""Playing a note: its voices' recordings at their pitch, filtered, faded and added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdmm.data.sound_font.riff import FontFile
from kdmm.data.sound_font.sweep import frame_times, low_pass
from kdmm.data.sound_font.voice import Voice
from kdmm.data.sound_font.wave import wave

__all__ = ["SILENT_DB", "render", "sounds"]

SILENT_DB = 60.0  # below its loudest a note is over
FADE_S = 0.005  # at the end, so that it does not click
LOWEST_HZ = 8.176  # 0 cents of a cutoff: key 0
OPEN = 0.95  # of the highest pitch; above it the filter is left out


def sounds(voices: Sequence[Voice], held: float | int, lost_db: float | int = SILENT_DB) -> float:
    """Return for how many seconds a note sounds before it is ``lost_db`` below its loudest."""
    return max(voice.lasts(held, lost_db) for voice in voices)


def render(
    file: FontFile, voices: Sequence[Voice], velocity: int, held: float | int, seconds: float | int, rate: int
) -> NDArray[np.float32]:
    """Return a note (T,), full scale [-1, 1].

    Args:
        file: that holds the recordings.
        voices: of the key; one or more.
        velocity: how hard the key is struck, 1 to 127: the amplitude is ``(velocity / 127)²`` (SoundFont 2.04,
            section 8.4.1).
        held: for how many seconds.
        seconds: longer notes are cut.
        rate: samples a second.
    """
    count = max(1, math.ceil(min(seconds, sounds(voices, held)) * rate))
    times: NDArray[np.float32] = np.arange(count, dtype=np.float32) / np.float32(rate)
    note = np.zeros(count, np.float32)
    for voice in voices:
        note += _played(file, voice, times, held, rate)
    note *= (velocity / 127) ** 2
    fade = min(count, round(FADE_S * rate))
    note[count - fade :] *= np.arange(fade, 0, -1, dtype=np.float32) / fade
    peak = float(np.abs(note).max())
    return note / max(peak, 1)


def _played(
    file: FontFile, voice: Voice, times: NDArray[np.float32], held: float | int, rate: int
) -> NDArray[np.float32]:
    step = voice.step(rate)
    places: NDArray[np.floating[Any]] = np.arange(len(times)) * step
    if voice.bend_cents:
        bent = np.exp2(voice.modulation.modulation(times, held).astype(float) * (voice.bend_cents / 1200)) * step
        places = np.cumsum(bent) - bent[0]
    played = wave(file, voice.recording, step).at(places)
    middles = frame_times(len(times), rate)
    cents = voice.cutoff_cents + voice.sweep_cents * voice.modulation.modulation(middles, held)
    cutoffs = LOWEST_HZ * np.exp2(cents / 1200)
    if cutoffs.min() < OPEN * rate / 2:
        played = low_pass(played, np.minimum(cutoffs, rate).astype(np.float32), voice.resonance_db, rate)
    return played * (voice.volume.volume(times, held) * np.float32(10 ** (-voice.attenuation_db / 20)))
