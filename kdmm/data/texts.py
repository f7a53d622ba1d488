"""Sentences without pictures, for a teacher to speak about."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path

from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.data.text_lines import read_lines

__all__ = ["TextSource", "Texts"]


class TextSource(Source):
    """Unpaired texts, all for training. A new kind of text is one subclass with `texts`."""

    @abstractmethod
    def texts(self) -> Iterable[tuple[str, str]]:
        """Return each text with where it stands; a text that comes again is left out."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """The train split."""
        return ("train",)

    def read(self, split: Split) -> list[Sample]:
        """Return one sample a text, numbered from 1."""
        places: dict[str, str] = {}
        for text, origin in self.texts():
            places.setdefault(text, origin)
        return [
            Sample(id=str(number), image=None, captions=(text,), origin=origin)
            for number, (text, origin) in enumerate(places.items(), start=1)
        ]


class Texts(TextSource):
    """The lines of a text file, UTF-8, without those that are empty.

    A column of a table is :class:`kdmm.data.PairTable` with ``image: null``.

    Args:
        path: the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return f"Texts({str(self.path)!r})"

    def texts(self) -> Iterable[tuple[str, str]]:
        """Return the lines."""
        for number, line in enumerate(read_lines(self.path, "Texts.path"), start=1):
            if line.strip():
                yield line.strip(), f"{self.path}, line {number}"
