"""What looking ahead needs of a DataModule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from kdmm.models import Preprocess

__all__ = ["ViewSource"]


@runtime_checkable
class ViewSource(Protocol):
    """What looking ahead needs of a DataModule."""

    @property
    def views(self) -> int | None:
        """K, so that a sample's view in pass p is p modulo K; ``None`` if each pass has a new view."""

    @property
    def fingerprint(self) -> str:
        """Names everything that decides the pixels of every view."""

    def texts(self, splits: Iterable[str]) -> list[str]:
        """Every caption of these splits, once, in a fixed order."""

    def views_loader(
        self, split: str, views: Iterable[int], preprocess: Preprocess, batch_size: int
    ) -> Iterable[Mapping[str, Any]]:
        """Every sample that has the one medium of ``preprocess``, under each view, in a fixed order."""
