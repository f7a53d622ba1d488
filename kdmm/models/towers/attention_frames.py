"""A mean of frames whose weights are learned."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.towers.frames import FrameTower
from kdmm.models.towers.image import ImageTower

__all__ = ["AttentionFrames"]


class AttentionFrames(FrameTower):
    """The frames' weighted mean, ``Σ_f a_f x_f`` with ``a = softmax_f(w · tanh(V x_f))``, in whatever order.

    Attention-based pooling of Ilse et al. 2018 (arXiv:1802.04712, equations 7 and 8). ``w`` starts at 0: the mean.

    Args:
        image: as for :class:`FrameTower`.
        frames: as for :class:`FrameTower`.
        frozen: as for :class:`FrameTower`.
        hidden_width: rows of V.

    Raises:
        InputError: a width below 1.
    """

    def __init__(self, image: ImageTower, frames: int, frozen: bool = False, hidden_width: int = 64) -> None:
        super().__init__(image, frames, frozen)
        if hidden_width < 1:
            raise InputError(f"AttentionFrames.hidden_width: {hidden_width} given; give 1 or more.")
        self.width = image.width
        self.hidden = nn.Linear(image.width, hidden_width, bias=False)
        self.score = nn.Linear(hidden_width, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def weights(self, frames: Float[Tensor, "N F D"]) -> Float[Tensor, "N F"]:
        """Return what each frame counts; 1 in all."""
        scores: Tensor = self.score(torch.tanh(self.hidden(frames)))
        return scores.squeeze(2).softmax(1)

    def pool(self, frames: Float[Tensor, "N F D"]) -> Float[Tensor, "N width"]:
        """Take the weighted mean."""
        return torch.einsum("nf,nfd->nd", self.weights(frames), frames)  # n clips, f frames, d features
