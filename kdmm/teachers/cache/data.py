"""What the cache of a teacher needs of a DataModule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from kdmm.models import Preprocess

__all__ = ["CacheSource", "Samples"]


@runtime_checkable
class Samples(Protocol):
    """All samples of a split at their positions; see `kdmm.data.everything.Everything`."""

    @property
    def counts(self) -> dict[str, int]:
        """How many positions each source has."""

    @property
    def unlisted(self) -> list[str]:
        """The sources whose samples are not known before they are read."""

    def identities(self) -> dict[str, dict[str, str]]:
        """Return what changes with the content of each shard, by its name, of each source that has shards."""

    def identified(self, modalities: Sequence[str]) -> Iterator[tuple[Any, str]]:
        """Yield, as `walk` does, every sample of the sources without shards, with what changes when its media do."""

    def walk(self, listed: bool = False) -> Iterator[Any]:
        """Yield every sample in order, with ``source``, ``position``, ``name`` and ``sample``."""

    def batches(
        self, requests: Sequence[tuple[str, Sequence[int], int]], preprocess: Preprocess
    ) -> Iterable[dict[str, Any] | None]:
        """Yield a batch a request (source, positions, view)."""


@runtime_checkable
class CacheSource(Protocol):
    """A DataModule whose samples can be looked at position by position, listed or read from front to back."""

    @property
    def views(self) -> int | None:
        """K, so that a sample's view in pass p is p modulo K; ``None`` if each pass has a new view."""

    @property
    def bad_samples(self) -> str:
        """``skip`` where samples that cannot be read are left out, ``stop`` where they end the run."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What is done to every view before a model's own preprocessing, by name."""

    def has(self, split: Any) -> bool:
        """Return whether there is such a split."""

    def everything(self, split: Any) -> Samples:
        """Return all samples of a split."""
