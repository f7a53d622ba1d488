"""Keeping what is measured on out of what is trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from kdmm.data.changed import ChangedTraining
from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split

__all__ = ["Without"]

WORD = re.compile(r"\w+")


class Without(ChangedTraining):
    """Leaves out of a source's training captions those that hold a val or test caption of another source.

    Unpaired text from a large collection is likely to hold captions that are measured on: a caption is left out when
    such a one occurs in it, as whole words in their order, whatever the case and punctuation. A caption that the
    other source also has for training stays. A sample of text alone that loses its last caption is left out.

    Args:
        source: whose samples are taken.
        held_out: whose val and test captions are kept out.
    """

    def __init__(self, source: Source, held_out: Source) -> None:
        super().__init__(source)
        self.held_out = held_out

    def __str__(self) -> str:
        return f"Without({self.source}, {self.held_out})"

    def changed(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Leave captions out."""
        measured = self._phrases("val") | self._phrases("test")
        measured -= self._phrases("train")
        longest = max(map(len, measured), default=0)
        kept = []
        for sample in samples:
            captions = tuple(caption for caption in sample.captions if not _holds(caption, measured, longest))
            if captions or sample.media:
                kept.append(sample if captions == sample.captions else replace(sample, captions=captions))
        return kept

    def _phrases(self, split: Split) -> set[tuple[str, ...]]:
        if split not in self.held_out.splits:
            return set()
        return {_words(caption) for sample in self.held_out.samples(split) for caption in sample.captions}


def _words(text: str) -> tuple[str, ...]:
    return tuple(WORD.findall(text.casefold()))


def _holds(text: str, phrases: set[tuple[str, ...]], longest: int) -> bool:
    words = _words(text)
    lengths = range(1, min(longest, len(words)) + 1)
    return any(words[start : start + n] in phrases for n in lengths for start in range(len(words) - n + 1))
