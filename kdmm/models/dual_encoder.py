"""Two towers in one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kdmm.models.shared_space import SharedSpace
from kdmm.models.towers import ImageTower, TextTower

__all__ = ["DualEncoder"]


class DualEncoder(SharedSpace):
    """An image tower and a text tower in one space (CLIP, https://arxiv.org/abs/2103.00020).

    Everything else is as in :class:`kdmm.models.SharedSpace`.

    Args:
        image: the image tower.
        text: the text tower.
        embed_dim: D, the width of the shared space; ``None`` takes the towers' own width, without projections.
        freeze: towers that are not trained, ``image`` or ``text``.
        dropout: of the features before their projection.
        init_temperature: the contrastive temperature at the start.
        init_logit_bias: the sigmoid loss's bias at the start; ``None`` for a model without one.
        weights_from: where trained weights of the whole model came from; set by whoever loads them.

    Raises:
        InputError: towers of different width without ``embed_dim``, or an unknown tower in ``freeze``.
    """

    gives: ClassVar[frozenset[str]] = frozenset(  # type: ignore[assignment]
        {"image", "text", "logit_scale", "logit_bias"}
    )

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        embed_dim: int | None = None,
        freeze: Sequence[str] = (),
        dropout: float = 0.0,
        init_temperature: float = 0.07,
        init_logit_bias: float | None = None,
        weights_from: str | None = None,
    ) -> None:
        super().__init__(
            {"image": image, "text": text},
            embed_dim,
            freeze,
            dropout,
            init_temperature,
            init_logit_bias,
            weights_from=weights_from,
        )
