"""A sound as it was recorded."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

__all__ = ["AudioClip"]


@dataclass(frozen=True, eq=False)
class AudioClip:
    """Samples of a sound.

    Args:
        samples: one row a channel, float32, full scale is [-1, 1].
        rate: samples a second, Hz.
    """

    samples: Float[Tensor, "channels T"]
    rate: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples.shape[1] / self.rate
