"""What is said of a note: its instrument and how it was played, nothing that cannot be heard."""

from __future__ import annotations

from kdmm.data.sound_font.instruments import Instrument

__all__ = ["CAPTIONS", "DURATIONS", "LOUDNESSES", "REGISTERS", "captions", "register"]

REGISTERS = ("low", "middle", "high")
LOUDNESSES = ("soft", "loud")
DURATIONS = ("short", "long")
ADVERBS = {"soft": "softly", "loud": "loudly"}

FIRST_KEYS = (0, 53, 72)  # of the registers: middle is F below middle C (key 60) to the second B above it
NOTES = (
    "{phrase} playing a {duration} {register} note {adverb}",
    "a {loudness}, {duration}, {register} note of {phrase}",
    "{family}: {phrase}, {register}, {loudness} and {duration}",
)
NOISES = (
    "the {duration} sound of {phrase}, {register}, {adverb}",
    "a {loudness}, {duration}, {register} sound of {phrase}",
    "{family}: {phrase}, {register}, {loudness} and {duration}",
)
DRUMS = (
    "the {duration} sound of {phrase}, {adverb}",
    "a {loudness}, {duration} sound of {phrase}",
    "{family}: {phrase}, {loudness} and {duration}",
)
CAPTIONS = len(NOTES)


def register(key: int) -> str:
    """Return one of ``REGISTERS`` for a MIDI key."""
    return next(name for name, first in zip(REGISTERS[::-1], FIRST_KEYS[::-1], strict=True) if key >= first)


def captions(instrument: Instrument, key: int, loudness: str, duration: str, count: int) -> tuple[str, ...]:
    """Return captions that all say the same: what plays, how high (but for drums), how loud and how long.

    Args:
        instrument: that plays.
        key: of it.
        loudness: one of ``LOUDNESSES``.
        duration: one of ``DURATIONS``.
        count: how many, up to ``CAPTIONS``.
    """
    templates = DRUMS if instrument.is_drum else NOTES if instrument.plays_notes else NOISES
    return tuple(
        template.format(
            phrase=instrument.phrase,
            family=instrument.family,
            register=register(key),
            loudness=loudness,
            adverb=ADVERBS[loudness],
            duration=duration,
        )
        for template in templates[:count]
    )
