"""One recording of a sound font, as one key plays it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kdmm.data.sound_font.envelope import Envelope
from kdmm.data.sound_font.generators import Amounts, Generator
from kdmm.errors import InputError

__all__ = ["Recording", "Voice"]

COARSE = 32768  # points
ONCE, LOOPED = (0, 2), (1, 3)  # loop modes. Mode 3 plays the rest when the key is let go; here it goes on looping
MIDDLE = 60  # the key at which hold and decay are not scaled


@dataclass(frozen=True)
class Recording:
    """A part of a sound font's points.

    Args:
        start: its first point.
        end: the point after its last.
        loop: the first point of the loop and the one after its last, from the sound font's first; ``None``: the
            recording is played once.
        rate: points a second.
    """

    start: int
    end: int
    loop: tuple[int, int] | None
    rate: int

    @classmethod
    def of(cls, row: np.void, amounts: Amounts, points: int) -> Recording:
        """Return the part that a zone plays.

        Args:
            row: of the table ``shdr``.
            amounts: of the zone.
            points: how many the sound font has.

        Raises:
            InputError: the part or its loop is not there.
        """

        def place(field: str, fine: int, coarse: int) -> int:
            return int(row[field]) + amounts[fine] + COARSE * amounts[coarse]

        start = place("start", Generator.START, Generator.START_COARSE)
        end = place("end", Generator.END, Generator.END_COARSE)
        first = place("loop_start", Generator.LOOP_START, Generator.LOOP_START_COARSE)
        last = place("loop_end", Generator.LOOP_END, Generator.LOOP_END_COARSE)
        looped = amounts[Generator.LOOP_MODE] in LOOPED
        name = row["name"].decode("latin-1")
        if not 0 <= start < end <= points:
            raise InputError(f"this sound font is broken: a zone plays points {start} to {end} of {points} ({name!r})")
        if looped and not start <= first < last <= points:
            raise InputError(
                f"this sound font is broken: a zone loops points {first} to {last} of a recording that is {start} to "
                f"{end} ({name!r})"
            )
        return cls(start, end, (first, last) if looped else None, int(row["rate"]))


@dataclass(frozen=True)
class Voice:
    """A recording with its pitch, loudness and filter. A note is the sum of its voices.

    Args:
        recording: what is played.
        cents: how much higher than it was recorded, hundredths of a semitone.
        attenuation_db: how much softer.
        volume: over time.
        modulation: over time; moves the pitch and the cutoff.
        bend_cents: what the full modulation adds to the pitch.
        cutoff_cents: of the low-pass filter, above 8.176 Hz.
        sweep_cents: what the full modulation adds to the cutoff.
        resonance_db: of the filter.
    """

    recording: Recording
    cents: float | int
    attenuation_db: float | int
    volume: Envelope
    modulation: Envelope
    bend_cents: float | int
    cutoff_cents: float | int
    sweep_cents: float | int
    resonance_db: float | int

    @classmethod
    def of(cls, row: np.void, amounts: Amounts, points: int, key: int) -> Voice:
        """Return what a key makes of a zone; the other arguments are those of :meth:`Recording.of`."""
        root = amounts[Generator.ROOT_KEY]
        from_root = key - (int(row["key"]) if root < 0 else root)
        tune = 100 * amounts[Generator.COARSE_TUNE] + amounts[Generator.FINE_TUNE] + int(row["correction"])
        lost = {name: max(0, amounts[name]) / 10 for name in (Generator.MODULATION_SUSTAIN, Generator.VOLUME_SUSTAIN)}
        return cls(
            recording=Recording.of(row, amounts, points),
            cents=float(from_root * amounts[Generator.SCALE] + tune),
            attenuation_db=max(0, amounts[Generator.ATTENUATION]) / 10,
            volume=_envelope(amounts, Generator.VOLUME, lost[Generator.VOLUME_SUSTAIN], key),
            modulation=_envelope(
                amounts, Generator.MODULATION, min(1.0, lost[Generator.MODULATION_SUSTAIN] / 100), key
            ),
            bend_cents=float(amounts[Generator.MODULATION_TO_PITCH]),
            cutoff_cents=float(amounts[Generator.CUTOFF]),
            sweep_cents=float(amounts[Generator.MODULATION_TO_CUTOFF]),
            resonance_db=amounts[Generator.RESONANCE] / 10,
        )

    def step(self, rate: int) -> float:
        """Return how many points of the recording one sample at ``rate`` takes, where the pitch is not bent."""
        return float(self.recording.rate / rate * 2 ** (self.cents / 1200))

    def lasts(self, held: float | int, lost_db: float | int) -> float:
        """Return for how many seconds the voice is less than ``lost_db`` below its loudest.

        What a recording itself loses is not seen, only where it ends.
        """
        seconds = self.volume.lasts(held, lost_db)
        if self.recording.loop is not None:
            return seconds
        points = self.recording.end - self.recording.start
        return min(seconds, points / self.step(self.recording.rate) / self.recording.rate)


def _envelope(amounts: Amounts, first: int, sustain: float | int, key: int) -> Envelope:
    delay, attack, hold, decay, _, release, to_hold, to_decay = range(first, first + 8)
    scaled: Mapping[int, int] = {hold: amounts[to_hold] * (MIDDLE - key), decay: amounts[to_decay] * (MIDDLE - key)}
    seconds = {
        stage: float(2 ** ((amounts[stage] + scaled.get(stage, 0)) / 1200))
        for stage in (delay, attack, hold, decay, release)
    }
    return Envelope(seconds[delay], seconds[attack], seconds[hold], seconds[decay], sustain, seconds[release])
