"""Google's drawings of emoji, from the font that systems carry them in, with their Unicode names."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from kdmm import fetch
from kdmm.data.emoji_concepts import KINDS
from kdmm.data.image_ref import ImageRef
from kdmm.data.redrawn_emoji import RedrawnEmoji
from kdmm.data.sample import Sample
from kdmm.data.source import Split
from kdmm.errors import InputError

__all__ = ["NotoEmoji"]

FONT = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"  # where the package has it


class NotoEmoji(RedrawnEmoji):
    """About 1,340 emoji as Google draws them (Noto), 136 x 128 pixels, transparent; ``kdmm fetch noto-emoji``.

    Names, concepts, labels and splits are those of :class:`kdmm.data.Emoji`, whose pictures are by another hand: what a
    model learnt from Twemoji can be measured on drawings in a style that it has not seen
    (`kdmm.data.DomainShift`). Emoji of several characters, such as most of those with a gender, are left out.

    Drawings: Google (Noto Color Emoji, OFL-1.1 and Apache-2.0). Names: ``pip install "kdmm[samples]"``.

    Args:
        font: a font with colour bitmaps (CBDT), such as ``NotoColorEmoji.ttf``; ``None`` takes what ``kdmm fetch
            noto-emoji`` has fetched.
        languages: of the names; one caption a language, as for :class:`kdmm.data.Emoji`.
        groups: categories to take, such as ``Animals & Nature``; ``None`` takes all.
        exclude: which of ``flags``, ``keycaps``, ``clock faces`` and ``families`` to leave out.
        fold: which fifth is for testing, 0 to 4.
    """

    def __init__(
        self,
        font: str | Path | None = None,
        languages: Sequence[str] = ("en",),
        groups: Sequence[str] | None = None,
        exclude: Sequence[str] = KINDS,
        fold: int = 0,
    ) -> None:
        super().__init__(languages, False, groups, exclude, fold)
        self.font = None if font is None else Path(font)

    def read(self, split: Split) -> list[Sample]:
        """Choose the drawings of a split."""
        return [
            replace(sample, image=self._drawings[sample.id], origin=self._drawings[sample.id].path)
            for sample in self.named.samples(split)
            if sample.id in self._drawings
        ]

    @cached_property
    def _drawings(self) -> dict[str, ImageRef]:
        """The font's pictures by code point, as :class:`kdmm.data.Emoji` writes it."""
        setting = "NotoEmoji.font"
        path = fetch.folder("noto-emoji", setting) / FONT if self.font is None else self.font
        if not path.is_file():
            raise InputError(
                f"{setting}: there is no file {str(path)!r}. Give a font, or null after `kdmm fetch noto-emoji`."
            )
        return {f"{point:x}": ImageRef(f"{path}#{point:x}", png) for point, png in _bitmaps(path, setting).items()}


def _bitmaps(path: Path, setting: str) -> dict[int, bytes]:
    """Return the PNG pictures of a font's characters."""
    try:
        fonts = importlib.import_module("fontTools.ttLib")
    except ImportError:
        raise InputError('Fonts are read by the package fonttools: pip install "kdmm[samples]"') from None
    try:
        with path.open("rb") as file, fonts.TTFont(file, lazy=True) as font:  # closed although it is no font
            names = font.getBestCmap() or {}
            drawn = font["CBDT"].strikeData[0] if "CBDT" in font else {}
            found = {point: drawn[name].imageData for point, name in names.items() if name in drawn}
    except Exception as error:  # fontTools raises errors of any class on broken fonts
        raise InputError(f"{setting}: {str(path)!r} is no font that can be read: {error}") from error
    if not found:
        raise InputError(
            f"{setting}: {str(path)!r} has no colour bitmaps (CBDT). Give a font such as NotoColorEmoji.ttf."
        )
    return found
