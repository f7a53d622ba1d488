"""Which notes are played of a sound font: instruments, keys, velocities and lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kdmm.data.sound_font.heard import heard_for
from kdmm.data.sound_font.instruments import Instrument
from kdmm.data.sound_font.presets import Presets
from kdmm.data.sound_font.render import sounds
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["Played", "Score", "play"]

LONG_S = 1.0
HEARD_DB = 30.0
"""A note is long if it is less than 30 dB below its loudest after one second, however long its key is held."""


@dataclass(frozen=True)
class Played:
    """A note and the words for it.

    Args:
        instrument: that plays it.
        key: MIDI number.
        velocity: 1 to 127.
        held: seconds from striking the key to letting it go.
        loudness: ``soft`` or ``loud``.
        duration: ``short`` or ``long``.
    """

    instrument: Instrument
    key: int
    velocity: int
    held: float | int
    loudness: str
    duration: str


@dataclass(frozen=True)
class Score:
    """Each instrument's keys, each for several lengths, each softly and loudly.

    A longer length is left out where it gives the same sound: a woodblock's is over at once.

    Args:
        step: semitones from one key to the next, of those an instrument is mostly played in.
        lengths: for how many seconds a key is held.
        soft: velocities, of which a note has one, drawn by a hash.
        loud: the same.
        seconds: where notes are cut.
    """

    step: int
    lengths: tuple[float | int, ...]
    soft: tuple[int, ...]
    loud: tuple[int, ...]
    seconds: float | int

    def __post_init__(self) -> None:
        if not 1 <= self.step <= 12:
            raise InputError(f"SoundFont.step: {self.step} given; it is 1 to 12 semitones.")
        if not self.lengths or not all(0 < length < float("inf") for length in self.lengths):
            raise InputError(f"SoundFont.lengths: {list(self.lengths)} given; give one or more, above 0 seconds.")
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"SoundFont.seconds: {self.seconds} given; it is above 0.")
        for name, velocities in (("soft", self.soft), ("loud", self.loud)):
            wrong = [velocity for velocity in velocities if not 1 <= velocity <= 127]
            if wrong:
                raise InputError(f"SoundFont.{name}: {wrong[0]} given; velocities are 1 to 127.")
        if not (self.soft or self.loud):
            raise InputError("SoundFont.soft, SoundFont.loud: both are empty; give velocities for one of them.")
        if self.soft and self.loud and max(self.soft) >= min(self.loud):
            raise InputError(
                f"SoundFont.soft goes up to {max(self.soft)} and SoundFont.loud begins at {min(self.loud)}; the "
                "captions would be wrong. Give lower velocities for soft, or higher ones for loud."
            )

    def keys(self, instrument: Instrument) -> list[int]:
        """Return the keys of an instrument that are a multiple of the step; a drum's one key, whatever it is."""
        return [key for key in instrument.keys if instrument.is_drum or key % self.step == 0]

    def played(self, presets: Presets, instrument: Instrument) -> Iterator[Played]:
        """Yield an instrument's notes, of the keys for which the sound font has something."""
        for key in self.keys(instrument):
            for loudness, velocities in (("soft", self.soft), ("loud", self.loud)):
                yield from self._lengths(presets, instrument, key, loudness, velocities)

    def _lengths(
        self, presets: Presets, instrument: Instrument, key: int, loudness: str, velocities: Sequence[int]
    ) -> Iterator[Played]:
        for held in sorted(set(self.lengths)) if velocities else ():
            chosen = stable_hash("sound font velocity", instrument.name, key, loudness, f"{held:g}") % len(velocities)
            velocity = sorted(velocities)[chosen]
            voices = presets.voices(instrument.bank, instrument.program, key, velocity)
            if not voices:
                return
            heard = heard_for(presets.file, voices, held, self.seconds, HEARD_DB)
            duration = "long" if heard >= LONG_S else "short"
            yield Played(instrument, key, velocity, held, loudness, duration)
            if sounds(voices, held) <= held:  # over before the key is let go
                return


@lru_cache(maxsize=8)
def play(presets: Presets, instruments: tuple[Instrument, ...], score: Score) -> tuple[Played, ...]:
    """Return all notes, once a process: the folds of a source have the same ones.

    Args:
        presets: of the sound font.
        instruments: that play.
        score: what they play.
    """
    return tuple(note for instrument in instruments for note in score.played(presets, instrument))
