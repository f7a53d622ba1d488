"""Notes of recorded instruments with what is played: a real audio-text data set that pip installs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdmm.data.concept_folds import Place, check_fold, split_of
from kdmm.data.sample import Sample
from kdmm.data.sound_font.captions import CAPTIONS, DURATIONS, LOUDNESSES, REGISTERS, captions, register
from kdmm.data.sound_font.instruments import FAMILIES, INSTRUMENTS, PERCUSSION
from kdmm.data.sound_font.note import Note
from kdmm.data.sound_font.places import PLACES, spread
from kdmm.data.sound_font.presets import read_presets
from kdmm.data.sound_font.score import Played, Score, play
from kdmm.data.source import SPLITS, Source, Split
from kdmm.errors import InputError, nearest
from kdmm.models.files import locate

__all__ = ["SoundFont"]

PACKAGED = "package:pretty_midi/TimGM6mb.sf2"
HELD_OUT = ("pitch", "velocity", "instrument")
RATES = (4000, 192_000)  # Hz
NO_CLASS = -1


class SoundFont(Source):
    """Notes of General MIDI's instruments, rendered from recordings, captioned with what is played.

    A note is one key of one instrument, struck softly or loudly and held for a while; about 5,700 by default. Captions
    name the instrument, how high (low below F3, middle, high from C5), how loud and how long: long if it is heard for a
    second. So notes of one instrument that differ in key or velocity alone may have equal captions, and are right
    answers to each other's. Sounds have one channel.

    ``held_out`` says what the val and test splits hold that training does not: of all instruments some keys
    (``pitch``), some velocities (``velocity``, the easiest), or some instruments with all their notes
    (``instrument``: then captions name what training never did). A sixth is for validation, the same whatever the fold,
    and each other sixth is for testing in one of 5 folds. A drum has no pitch: with ``pitch`` held out, all drums are
    for training.

    A concept (``Sample.group``, which :class:`kdmm.data.Captioned` chooses) is one key of one instrument, with its
    soft, loud, short and long notes; with ``velocity`` held out, of one velocity. So a tenth of the concepts is a tenth
    of the notes spread over many instruments: most then have one captioned key or none.

    Labels: ``instrument``, ``family``, ``register``, ``loudness``, ``duration`` (:meth:`class_names` gives their
    names), and the numbers ``key`` and ``velocity``.

    Recordings: TimGM6mb.sf2 (Tim Brechbill, GPL-2), as the package pretty_midi carries it:
    ``pip install "kdmm[samples]"``.

    Args:
        held_out: by what the splits differ.
        fold: which part is for testing, 0 to 4.
        families: of General MIDI to take, such as ``strings``; ``None`` takes all 16.
        drums: adds the 47 sounds of the standard drum kit.
        step: semitones from one key to the next.
        lengths: for how many seconds a key is held; a longer one is left out where it gives the same sound.
        soft: velocities, of which each soft note has one; none leaves soft notes out.
        loud: the same for loud notes.
        captions: how many a note has, 1 to 3; they say the same.
        seconds: longer notes are cut.
        rate: samples a second, Hz.
        path: another General MIDI sound font (``.sf2``); its presets of bank 0 are taken, and its drums of bank 128.
    """

    def __init__(
        self,
        held_out: Literal["pitch", "velocity", "instrument"] = "pitch",
        fold: int = 0,
        families: Sequence[str] | None = None,
        drums: bool = False,
        step: int = 3,
        lengths: Sequence[float | int] = (0.4, 1.5),
        soft: Sequence[int] = (24, 30, 36, 42, 48, 54),
        loud: Sequence[int] = (90, 96, 102, 108, 114, 120),
        captions: int = CAPTIONS,
        seconds: float | int = 2,
        rate: int = 16_000,
        path: str | Path | None = None,
    ) -> None:
        self.held_out = held_out
        self.fold = fold
        self.families = FAMILIES[:-1] if families is None else tuple(families)
        self.drums = drums
        self.score = Score(step, tuple(lengths), tuple(soft), tuple(loud), seconds)
        self.captions = captions
        self.rate = rate
        self.path = path
        _one_of("held_out", held_out, HELD_OUT)
        for family in self.families:
            _one_of("families", family, FAMILIES[:-1])
        check_fold(fold, "SoundFont.fold")
        _between("captions", captions, 1, CAPTIONS)
        _between("rate", rate, *RATES)
        if held_out == "velocity" and max(len(set(soft)), len(set(loud))) < len(PLACES):
            raise InputError(
                f"SoundFont.held_out: velocity given, but SoundFont.soft has {len(soft)} velocities and "
                f"SoundFont.loud {len(loud)}; one of them needs {len(PLACES)} or more to hold some out."
            )

    def __str__(self) -> str:
        return f"SoundFont({self.held_out!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return SPLITS

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name, which says what is held out, and the fold."""
        return {**super().describe(split), "fold": self.fold}

    def attributes(self, split: Split) -> dict[str, NDArray[np.int64]]:
        """Return the labels of a split's samples, each (N,) in their order; -1 where a sample has none."""
        samples = self.samples(split)
        names = dict.fromkeys(name for sample in samples for name in sample.labels)
        return {name: np.array([sample.labels.get(name, NO_CLASS) for sample in samples]) for name in names}

    def read(self, split: Split) -> list[Sample]:
        """Choose the notes of a split."""
        numbers = {label: {name: n for n, name in enumerate(names)} for label, names in self.classes.items()}
        font, played = self._played
        return [self._sample(font, each, numbers) for each in played if split_of(self._place(each), self.fold) == split]

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the instruments, families, registers, loudnesses and durations."""
        return {
            "instrument": tuple(each.name for each in (*INSTRUMENTS, *(PERCUSSION if self.drums else ()))),
            "family": FAMILIES if self.drums else FAMILIES[:-1],
            "register": REGISTERS,
            "loudness": LOUDNESSES,
            "duration": DURATIONS,
        }

    @cached_property
    def _played(self) -> tuple[str, tuple[Played, ...]]:
        """The sound font's file and all notes."""
        font = str(locate(PACKAGED)) if self.path is None else str(self.path)
        chosen = (each for each in INSTRUMENTS if each.family in self.families)
        try:
            return font, play(read_presets(font), (*chosen, *(PERCUSSION if self.drums else ())), self.score)
        except InputError as error:
            raise InputError(f"SoundFont.path: {font!r}: {error}. Give a General MIDI sound font (.sf2).") from None

    @cached_property
    def _places(self) -> dict[Any, Place]:
        """Where each key, velocity or instrument is."""
        if self.held_out == "pitch":
            return spread(range(0, 128, self.score.step))
        if self.held_out == "velocity":
            return {**spread(sorted(set(self.score.soft))), **spread(sorted(set(self.score.loud)))}
        return {**spread(each.name for each in INSTRUMENTS), **spread(each.name for each in PERCUSSION)}

    def _place(self, each: Played) -> Place | None:
        if self.held_out == "pitch":
            return None if each.instrument.is_drum else self._places[each.key]
        return self._places[each.velocity if self.held_out == "velocity" else each.instrument.name]

    def _sample(self, font: str, each: Played, numbers: Mapping[str, Mapping[str, int]]) -> Sample:
        who = each.instrument
        note = Note(
            font, who.bank, who.program, who.name, each.key, each.velocity, each.held, self.score.seconds, self.rate
        )
        words = {"instrument": who.name, "family": who.family, "loudness": each.loudness, "duration": each.duration}
        pitch = {} if who.is_drum else {"register": numbers["register"][register(each.key)], "key": each.key}
        concept = f"{who.name}, key {each.key}"
        return Sample(
            id=f"{concept}, velocity {each.velocity}, {each.held:g} s",
            audio=note,
            captions=captions(who, each.key, each.loudness, each.duration, self.captions),
            group=f"{concept}, velocity {each.velocity}" if self.held_out == "velocity" else concept,
            labels={
                **{label: numbers[label][word] for label, word in words.items()},
                **pitch,
                "velocity": each.velocity,
            },
            origin=note.path,
        )


def _one_of(setting: str, given: str, accepted: Sequence[str]) -> None:
    if given not in accepted:
        raise InputError(
            f"SoundFont.{setting}: unknown {given!r}. Accepted: {', '.join(accepted)}.{nearest(given, accepted)}"
        )


def _between(setting: str, given: int, low: int, high: int) -> None:
    if not low <= given <= high:
        raise InputError(f"SoundFont.{setting}: {given} given; it is {low} to {high}.")
