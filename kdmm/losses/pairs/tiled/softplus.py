"""The binary cross entropy of each pair of rows, summed over columns, in tiles."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx

from kdmm.losses.pairs.tiled.blocks import gradients, products

__all__ = ["tiled_softplus"]


def tiled_softplus(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "C D"],
    scale: Float[Tensor, ""] | float,
    bias: Float[Tensor, ""] | float,
    labels: Int[Tensor, "B"],
    every_label: Int[Tensor, "C"],
    tile: int,
) -> Float[Tensor, "B"]:
    """Return ``sum_j softplus(-y_ij z_ij)`` of each row, where y_ij is 1 for equal labels, else -1.

    Args:
        first: one vector a row.
        second: one vector a column.
        scale: multiplies the inner products.
        bias: added to them.
        labels: one a row.
        every_label: one a column.
        tile: rows and columns a tile.
    """
    scale, bias = (torch.as_tensor(x, dtype=first.dtype, device=first.device) for x in (scale, bias))
    sums: Tensor = _Softplus.apply(first, second, scale, bias, labels, every_label, tile)
    return sums


class _Softplus(torch.autograd.Function):
    """Keeps the vectors alone."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        first: Tensor,
        second: Tensor,
        scale: Tensor,
        bias: Tensor,
        labels: Tensor,
        every_label: Tensor,
        tile: int,
    ) -> Tensor:
        sums = first.new_zeros(len(first))
        for row, column, logits in products(first, second, scale, tile):
            logits += bias
            same = labels[row, None] == every_label[column]
            sums[row] += F.softplus(torch.where(same, -logits, logits)).sum(1)
        ctx.save_for_backward(first, second, scale, bias, labels, every_label)
        ctx.tile = tile  # type: ignore[attr-defined]
        return sums

    @staticmethod
    def backward(ctx: Any, to_sums: Tensor) -> tuple[Tensor | None, ...]:
        first, second, scale, bias, labels, every_label = ctx.saved_tensors
        to_bias = torch.zeros_like(bias)

        def slope(row: slice, column: slice, logits: Tensor) -> Tensor:
            logits += bias
            same = labels[row, None] == every_label[column]
            logits = torch.where(same, -logits, logits).sigmoid_()
            logits = torch.where(same, -logits, logits).mul_(to_sums[row, None])
            to_bias.add_(logits.sum())
            return logits

        found = gradients(first, second, scale, ctx.tile, slope, ctx.needs_input_grad[:3])
        return *found, to_bias, None, None, None
