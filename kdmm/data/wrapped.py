"""Sources that take the samples of another source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdmm.data.source import Source, Split

__all__ = ["Wrapped"]


class Wrapped(Source):
    """Has the classes and splits of another source, and its description under a name of its own.

    Args:
        source: whose samples are taken.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Those of the source."""
        return self.source.classes

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those of the source."""
        return self.source.splits

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the source's description under this name."""
        return {**self.source.describe(split), **super().describe(split)}
