"""Losses on all pairs of a large batch, computed in tiles: nothing of the size of the matrix of pairs is ever held.

Forward and backward go over the matrix of scaled inner products a tile at a time. The forward pass keeps some numbers a
row and a column; the backward pass makes each tile once more. Both directions of a loss read the same tiles, so in one
process a loss that held the matrix with m products of matrices takes one more for each model whose tiles are made
twice.
"""

from kdmm.losses.pairs.tiled.blocks import checked_tile
from kdmm.losses.pairs.tiled.divergence import tiled_divergences
from kdmm.losses.pairs.tiled.logsumexp import tiled_logsumexp, two_way_logsumexp
from kdmm.losses.pairs.tiled.positives import every_label, positive_means
from kdmm.losses.pairs.tiled.softplus import tiled_softplus

__all__ = [
    "checked_tile",
    "every_label",
    "positive_means",
    "tiled_divergences",
    "tiled_logsumexp",
    "tiled_softplus",
    "two_way_logsumexp",
]
