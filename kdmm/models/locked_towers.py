"""Models some of whose towers keep their weights, and what those give."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["LockedTowers"]


@runtime_checkable
class LockedTowers(Protocol):
    """A model whose locked towers can be run once before training (`kdmm.modules.TeacherModule`'s ``features``).

    Its ``forward`` takes ``features/<modality>`` in the place of a locked tower's modality.
    """

    @property
    def locked(self) -> tuple[str, ...]:
        """The modalities whose towers keep their weights."""

    @property
    def towers(self) -> nn.Module:
        """What gives the features; its weights are what they depend on."""

    def features(self, modality: str, inputs: Tensor) -> Tensor:
        """Return a tower's features (N, ...) of N inputs."""
