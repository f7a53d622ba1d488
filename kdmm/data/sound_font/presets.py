"""Which recordings a key of a preset plays: a sound font's zones (SoundFont 2.04, sections 7.3 and 7.7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdmm.data.sound_font.generators import Amounts, Generator
from kdmm.data.sound_font.riff import FontFile, read_font_file
from kdmm.data.sound_font.voice import Voice
from kdmm.errors import InputError

__all__ = ["Presets", "read_presets"]

EVERYTHING = (0, 127)


@dataclass(frozen=True)
class _Zone:
    """What a preset or an instrument does with some keys and velocities: first and last of each, and the amounts."""

    keys: tuple[int, int] = EVERYTHING
    velocities: tuple[int, int] = EVERYTHING
    amounts: Mapping[int, int] = field(default_factory=dict)

    def plays(self, key: int, velocity: int) -> bool:
        return self.keys[0] <= key <= self.keys[1] and self.velocities[0] <= velocity <= self.velocities[1]


class Presets:
    """The presets of a sound font, each by its (bank, program).

    A note is one channel: stereo recordings and panning are added up. Left out are modulators (of which the standard
    one from velocity to loudness is played all the same), vibrato and tremolo.

    Args:
        file: the sound font.

    Raises:
        InputError: a zone names an instrument or a recording that is not there; the message is without the path.
    """

    def __init__(self, file: FontFile) -> None:
        self.file = file
        tables = file.tables
        recordings = len(tables["shdr"]) - 1
        instruments = [
            list(_zones(tables, "ibag", "igen", rows, Generator.RECORDING, recordings))
            for rows in _spans(tables["inst"]["bag"])
        ]
        self.names: dict[tuple[int, int], str] = {}
        self._zones: dict[tuple[int, int], list[tuple[_Zone, list[_Zone]]]] = {}
        for row, rows in zip(tables["phdr"][:-1], _spans(tables["phdr"]["bag"]), strict=True):
            zones = _zones(tables, "pbag", "pgen", rows, Generator.INSTRUMENT, len(instruments))
            place = int(row["bank"]), int(row["program"])
            self.names[place] = row["name"].decode("latin-1").strip()
            self._zones[place] = [(zone, instruments[zone.amounts[Generator.INSTRUMENT]]) for zone in zones]

    def voices(self, bank: int, program: int, key: int, velocity: int) -> list[Voice]:
        """Return what a key plays: nothing where the preset has no zone for it.

        Raises:
            InputError: a zone's recording or its loop goes beyond what is there.
        """
        recordings = self.file.tables["shdr"]
        return [
            Voice.of(
                recordings[inner.amounts[Generator.RECORDING]],
                Amounts(inner.amounts, outer.amounts),
                len(self.file.points),
                key,
            )
            for outer, instrument in self._zones.get((bank, program), ())
            if outer.plays(key, velocity)
            for inner in instrument
            if inner.plays(key, velocity)
        ]


def read_presets(path: str) -> Presets:
    """Read a sound font, once a process while it does not change.

    Raises:
        InputError: it cannot be read, or is broken; the message says why, without the path.
    """
    return _presets(read_font_file(path))


@lru_cache(maxsize=4)
def _presets(file: FontFile) -> Presets:
    return Presets(file)


def _spans(first: NDArray[Any]) -> Iterator[range]:
    """Yield each item's rows, from the number of its first and the next item's first."""
    return (range(start, end) for start, end in np.stack([first[:-1], first[1:]], axis=1).tolist())


def _zones(
    tables: Mapping[str, NDArray[Any]], bags: str, generators: str, rows: range, last: int, count: int
) -> Iterator[_Zone]:
    """Yield the zones of a preset or an instrument, each with what the global zone sets for all of them.

    Args:
        tables: the sound font's.
        bags: the table in which ``rows`` are.
        generators: the table with their amounts.
        rows: one a zone. The first is global if it lacks ``last``; any other that lacks it is left out (section 7.3).
        last: the generator that says what the zone plays.
        count: how many there are to play.
    """
    every = _Zone()
    for row in rows:
        first, end = (int(tables[bags]["generator"][place]) for place in (row, row + 1))
        zone = _zone(tables[generators][first:end], every)
        if last in zone.amounts:
            if not 0 <= zone.amounts[last] < count:
                raise InputError(
                    f"this sound font is broken: a zone in {bags!r} plays number {zone.amounts[last]} of {count}"
                )
            yield zone
        elif row == rows.start:
            every = zone


def _zone(generators: NDArray[Any], every: _Zone) -> _Zone:
    own = dict(zip(generators["operator"].tolist(), generators["amount"].tolist(), strict=True))
    keys, velocities = (
        (own[ranges] & 0xFF, own[ranges] >> 8 & 0xFF) if ranges in own else inherited
        for ranges, inherited in ((Generator.KEYS, every.keys), (Generator.VELOCITIES, every.velocities))
    )
    return _Zone(keys, velocities, {**every.amounts, **own})
