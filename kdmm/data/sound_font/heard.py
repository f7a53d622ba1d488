"""For how long a note is heard, told without rendering it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kdmm.data.sound_font.riff import FontFile
from kdmm.data.sound_font.voice import Recording, Voice

__all__ = ["heard_for"]

WINDOW_S = 0.02
FRAME = 256  # points of a recording that are measured together: 6 ms at 44.1 kHz
FRAMES_KEPT = 4096  # recordings; a large sound font has as many


def heard_for(
    file: FontFile, voices: Sequence[Voice], held: float | int, seconds: float | int, lost_db: float | int
) -> float:
    """Return when a note was last less than ``lost_db`` below its loudest, to 20 ms, or ``seconds``.

    It is the loudness of the recordings times that of the envelopes; what the filter takes away is not seen.

    Args:
        file: that holds the recordings.
        voices: of the note.
        held: for how many seconds the key is.
        seconds: where one stops looking.
        lost_db: what is no longer heard.
    """
    times = (np.arange(max(1, round(seconds / WINDOW_S))) * WINDOW_S).astype(np.float32)
    power = np.zeros(len(times), np.float32)
    for voice in voices:
        recorded = _power(file, voice.recording, times * np.float32(voice.step(1)))
        power += recorded * (voice.volume.volume(times, held) * 10 ** (-voice.attenuation_db / 20)) ** 2
    heard = np.flatnonzero(power > power.max() * 10 ** (-lost_db / 10))
    return float(times[heard[-1]]) + WINDOW_S if len(heard) else 0.0


def _power(file: FontFile, recording: Recording, places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the power around some points of a recording, counted from its first, as it is played."""
    frames = _frames(file, recording)
    if recording.loop is None:
        played = np.minimum(places, len(frames) * FRAME - 1)
        once: NDArray[np.float32] = frames[(played // FRAME).astype(int)] * (places < recording.end - recording.start)
        return once
    first, last = (place - recording.start for place in recording.loop)
    played = np.where(places < last, places, first + (places - first) % (last - first))
    found: NDArray[np.float32] = frames[np.minimum(played // FRAME, len(frames) - 1).astype(int)]
    return found


@lru_cache(maxsize=FRAMES_KEPT)
def _frames(file: FontFile, recording: Recording) -> NDArray[np.float32]:
    """Return the mean square of each frame of a recording, the last one of the points that are left."""
    end = recording.end if recording.loop is None else recording.loop[1]
    squares = file.points[recording.start : end].astype(np.float32) ** 2
    starts = np.arange(0, len(squares), FRAME)
    return (np.add.reduceat(squares, starts) / np.minimum(FRAME, len(squares) - starts)).astype(np.float32)
