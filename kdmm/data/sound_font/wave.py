"""A recording made ready to be read at any place between its points, without aliasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdmm.data.sound_font.riff import FontFile
from kdmm.data.sound_font.voice import Recording

__all__ = ["Wave", "wave"]

OVERSAMPLING = 4  # grid places a sample of the result, at least; a cubic between them then errs by 1 % at its Nyquist
LEVELS_PER_OCTAVE = 4  # a level is right for steps within a quarter of an octave, and is kept for all of them
PASSED, STOPPED = 0.88, 1.0  # the filter's roll-off, as parts of the level's band
REACH = 32  # of the filter, in samples of its band; its roll-off of 0.12 has died away by then
FULL_SCALE = 32768
KEPT = 1024  # waves; those of all notes of a 6 MB sound font


@dataclass(frozen=True, eq=False)
class Wave:
    """A recording's points on another grid, and where its loop is. Places are points of the recording, from 0.

    Args:
        values: on the grid, full scale is [-1, 1].
        offset: the grid place of the recording's first point.
        density: grid places a point.
        end: the point at which it ends, or goes back to the loop's start.
        loop: how many points it then goes back; ``None``: it ends.
    """

    values: NDArray[np.float32]
    offset: float
    density: float
    end: int
    loop: int | None

    def at(self, places: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the values at some places in increasing order, by the cubic through four grid places; 0 beyond."""
        past = int(np.searchsorted(places, self.end))
        if self.loop is None:
            places, silent = places[:past], np.zeros(len(places) - past, np.float32)
        else:
            places, silent = places.copy(), np.zeros(0, np.float32)
            places[past:] = np.mod(places[past:] - self.end, self.loop) + (self.end - self.loop)
        grid = places * self.density + self.offset
        left = grid.astype(np.intp)
        x = (grid - left).astype(np.float32)
        left -= 1
        before, here, after, later = (self.values[shift:].take(left) for shift in range(4))
        # Lagrange's polynomial through (-1, before), (0, here), (1, after), (2, later)
        cubic = (later - before) / 6 + (here - after) / 2
        square = (before + after) / 2 - here
        slope = after - later / 6 - here / 2 - before / 3
        return np.concatenate([((cubic * x + square) * x + slope) * x + here, silent])


def wave(file: FontFile, recording: Recording, step: float | int) -> Wave:
    """Return a recording ready to be read, with the pitches that a result could not hold filtered out.

    Args:
        file: that holds it.
        recording: where it is.
        step: points between two samples of the result.
    """
    level = math.floor(LEVELS_PER_OCTAVE * math.log2(1 / max(step, 1)))
    return _level(file, recording, level)


@lru_cache(maxsize=KEPT)
def _level(file: FontFile, recording: Recording, level: int) -> Wave:
    band = 2 ** (level / LEVELS_PER_OCTAVE)  # of the recording's own; 1 keeps all of it
    margin = math.ceil(REACH / band)
    points, end = _with_loops(file.points, recording, margin)
    padded = np.pad(points.astype(np.float32) / FULL_SCALE, margin)
    spectrum = np.fft.rfft(padded)
    frequency = np.arange(len(spectrum)) / len(padded) * 2 / band  # 1 at the end of the band
    spectrum *= 0.5 + 0.5 * np.cos(np.pi * np.clip((frequency - PASSED) / (STOPPED - PASSED), 0, 1))
    size = round(len(padded) * band * OVERSAMPLING)
    density = size / len(padded)
    values = np.fft.irfft(spectrum, size) * density
    period = None if recording.loop is None else recording.loop[1] - recording.loop[0]
    return Wave(values.astype(np.float32), margin * density, density, end, period)


def _with_loops(all_points: NDArray[np.int16], recording: Recording, margin: int) -> tuple[NDArray[np.int16], int]:
    """Return the points with the loop played on, and where to go back by a loop's length.

    The filter must see the loop's own points on both sides of what is repeated, so the loop is entered ``margin``
    points after its start.
    """
    if recording.loop is None:
        return all_points[recording.start : recording.end], recording.end - recording.start
    start, end = recording.loop
    played_on = np.resize(all_points[start:end], 2 * margin)
    return np.concatenate([all_points[recording.start : end], played_on]), end - recording.start + margin
