"""Sources of the same emoji by other hands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdmm.data.emoji import Emoji
from kdmm.data.source import Source, Split

__all__ = ["RedrawnEmoji"]


class RedrawnEmoji(Source):
    """Has the names, concepts, labels and splits of :class:`kdmm.data.Emoji`, and pictures of its own.

    Args:
        languages: as for :class:`kdmm.data.Emoji`.
        skin_tones: as for :class:`kdmm.data.Emoji`.
        groups: as for :class:`kdmm.data.Emoji`.
        exclude: as for :class:`kdmm.data.Emoji`.
        fold: as for :class:`kdmm.data.Emoji`.
    """

    def __init__(
        self,
        languages: Sequence[str],
        skin_tones: bool,
        groups: Sequence[str] | None,
        exclude: Sequence[str],
        fold: int,
    ) -> None:
        self.named = Emoji(languages, False, skin_tones, groups, exclude, fold)
        self.fold = fold

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return self.named.splits

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``category``."""
        return self.named.classes

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name and the fold."""
        return {**super().describe(split), "fold": self.fold}
