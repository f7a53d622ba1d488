"""How a note's loudness and brightness go over time: delay, attack, hold, decay, sustain, release."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FULL_DB", "Envelope"]

FULL_DB = 100.0
"""A decay or release time is that of a change by 100 dB (SoundFont 2.04, section 8.1.2, generators 36 and 38)."""


@dataclass(frozen=True)
class Envelope:
    """Six stages, in seconds but for the sustain.

    Args:
        delay: before the attack.
        attack: from nothing to full.
        hold: at full.
        decay: of a fall by 100 dB, or from 1 to 0; it ends at the sustain.
        sustain: how far below full the decay ends: dB of a volume, [0, 1] of a modulation.
        release: of a fall by 100 dB, or from 1 to 0, after the key is let go.
    """

    delay: float | int
    attack: float | int
    hold: float | int
    decay: float | int
    sustain: float | int
    release: float | int

    def volume(self, times: NDArray[np.float32], held: float | int) -> NDArray[np.float32]:
        """Return amplitudes in [0, 1]: linear while rising, exponential (linear in dB) while falling.

        Args:
            times: seconds after the key is pressed.
            held: how long it is.
        """
        before = np.minimum(times, held)
        lost = np.clip((before - self._full) * (FULL_DB / self.decay), 0, self.sustain)
        lost += np.maximum(times - held, 0) * (FULL_DB / self.release)
        amplitudes: NDArray[np.float32] = np.exp(lost * -(math.log(10) / 20))
        rising = int(np.searchsorted(before, self.delay + self.attack))
        amplitudes[:rising] *= np.maximum(before[:rising] - self.delay, 0) / self.attack
        return amplitudes

    def modulation(self, times: NDArray[np.float32], held: float | int) -> NDArray[np.float32]:
        """Return values in [0, 1], linear in time; the arguments are those of :meth:`volume`."""
        before = np.minimum(times, held)
        rising = (before - self.delay) / self.attack
        falling = 1 - np.clip((before - self._full) / self.decay, 0, self.sustain)
        level = np.minimum(np.maximum(rising, 0), falling)
        values: NDArray[np.float32] = np.maximum(level - np.maximum(times - held, 0) / self.release, 0)
        return values

    def lasts(self, held: float | int, lost_db: float | int) -> float:
        """Return for how many seconds the volume is less than ``lost_db`` below full, before or after the release."""
        if self.sustain > lost_db:
            held = min(held, self._full + lost_db * self.decay / FULL_DB)
        lost = min(max(held - self._full, 0) * FULL_DB / self.decay, self.sustain)
        if held < self.delay + self.attack:
            part = max(held - self.delay, 0) / self.attack
            lost = -20 * math.log10(part) if part else math.inf
        return held + max(lost_db - lost, 0) * self.release / FULL_DB

    @property
    def _full(self) -> float:
        """When the decay begins."""
        return self.delay + self.attack + self.hold
