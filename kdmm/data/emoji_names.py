"""Names of emoji in two languages: short parallel phrases that pip installs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kdmm.data.emoji import Emoji
from kdmm.data.emoji_concepts import KINDS
from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.errors import InputError

__all__ = ["EmojiNames"]


class EmojiNames(Source):
    """Unicode's names of emoji, to be translated: about 1,600 phrases of 3 words, in 14 languages.

    The splits are those of :class:`kdmm.data.Emoji`, by concept, so no name of a test concept is seen in training in
    any language. Labels: ``category``. ``pip install "kdmm[samples]"``.

    Args:
        source: the language that is read, or several; then each emoji gives one sample a language.
        target: the language that is written.
        skin_tones: adds the variants with skin tones.
        groups: categories to take; ``None`` takes all.
        exclude: which of ``flags``, ``keycaps``, ``clock faces`` and ``families`` to leave out.
        fold: which fifth is for testing, 0 to 4.
    """

    def __init__(
        self,
        source: str | Sequence[str],
        target: str = "en",
        skin_tones: bool = False,
        groups: Sequence[str] | None = None,
        exclude: Sequence[str] = KINDS,
        fold: int = 0,
    ) -> None:
        self.source = (source,) if isinstance(source, str) else tuple(source)
        self.target = target
        if not self.source:
            raise InputError("EmojiNames.source: none given; give a language, such as de.")
        if target in self.source:
            raise InputError(f"EmojiNames.target: {target!r} is read too; give another language.")
        if len(set(self.source)) < len(self.source):
            raise InputError(f"EmojiNames.source: {list(self.source)} names a language twice; give each once.")
        self._emoji = {
            language: Emoji((language,), False, skin_tones, groups, exclude, fold)
            for language in (*self.source, target)
        }

    def __str__(self) -> str:
        return f"EmojiNames({'+'.join(self.source)} to {self.target})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return self._emoji[self.target].splits

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``category``."""
        return self._emoji[self.target].classes

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name and the fold."""
        return {**self._emoji[self.target].describe(split), **super().describe(split)}

    def read(self, split: Split) -> list[Sample]:
        """Put the names of a split side by side."""
        targets = self._emoji[self.target].read(split)
        return [
            replace(
                target,
                id=target.id if len(self.source) == 1 else f"{target.id} {language}",
                image=None,
                source=source.captions[0],
                origin=f"{target.origin} in {language}",
            )
            for language in self.source
            for source, target in zip(self._emoji[language].read(split), targets, strict=True)
        ]
