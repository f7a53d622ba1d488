"""The numbers of the generators of SoundFont 2.04, section 8.1.2, that are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Amounts", "Generator"]


class Generator(IntEnum):
    """What a zone sets. ``MODULATION`` and ``VOLUME`` are the first of six: delay, attack, hold, decay, ..."""

    START, END, LOOP_START, LOOP_END, START_COARSE = 0, 1, 2, 3, 4
    MODULATION_TO_PITCH, CUTOFF, RESONANCE, MODULATION_TO_CUTOFF, END_COARSE = 7, 8, 9, 11, 12
    MODULATION, MODULATION_SUSTAIN, KEY_TO_MODULATION_HOLD, KEY_TO_MODULATION_DECAY = 25, 29, 31, 32
    VOLUME, VOLUME_SUSTAIN, KEY_TO_VOLUME_HOLD, KEY_TO_VOLUME_DECAY = 33, 37, 39, 40
    INSTRUMENT, KEYS, VELOCITIES, LOOP_START_COARSE = 41, 43, 44, 45
    ATTENUATION, LOOP_END_COARSE, COARSE_TUNE, FINE_TUNE, RECORDING, LOOP_MODE = 48, 50, 51, 52, 53, 54
    SCALE, ROOT_KEY = 56, 58


DEFAULTS: dict[int, int] = {
    **dict.fromkeys(range(Generator.MODULATION, Generator.MODULATION + 6), -12000),  # timecents: 1 ms
    **dict.fromkeys(range(Generator.VOLUME, Generator.VOLUME + 6), -12000),
    Generator.MODULATION_SUSTAIN: 0,
    Generator.VOLUME_SUSTAIN: 0,
    Generator.CUTOFF: 13500,
    Generator.SCALE: 100,
    Generator.ROOT_KEY: -1,
}
"""Of the generators whose default is not 0."""

OF_INSTRUMENTS = frozenset(
    {
        *(Generator.START, Generator.END, Generator.LOOP_START, Generator.LOOP_END, Generator.START_COARSE),
        *(Generator.END_COARSE, Generator.LOOP_START_COARSE, Generator.LOOP_END_COARSE),
        *(Generator.LOOP_MODE, Generator.ROOT_KEY),
    }
)
"""These say nothing in a preset; of the others, a preset's is added to the instrument's (section 9.4)."""


@dataclass(frozen=True)
class Amounts:
    """The generators' amounts where a zone of a preset and one of its instrument meet.

    Args:
        instrument: the amounts that the instrument's zone sets.
        preset: those that the preset's zone sets.
    """

    instrument: Mapping[int, int]
    preset: Mapping[int, int]

    def __getitem__(self, generator: int) -> int:
        own = self.instrument.get(generator)
        amount = DEFAULTS.get(generator, 0) if own is None else own
        return amount if generator in OF_INSTRUMENTS else amount + self.preset.get(generator, 0)
