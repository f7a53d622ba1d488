"""The logsumexp of each row and column of a matrix of scaled inner products, in tiles."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

from kdmm.distributed import world_size
from kdmm.losses.pairs.tiled.blocks import gradients, products
from kdmm.losses.pairs.tiled.online import Online

__all__ = ["tiled_logsumexp", "two_way_logsumexp"]


def tiled_logsumexp(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "C D"],
    scale: Float[Tensor, ""] | float,
    tile: int,
    both: bool = False,
) -> tuple[Float[Tensor, "B"], Float[Tensor, "C"]]:
    """Return the logsumexp of each row of ``scale * first @ second.T``, and of each column.

    Args:
        first: one vector a row.
        second: one vector a column.
        scale: multiplies the inner products.
        tile: rows and columns a tile.
        both: take the columns too; else theirs are 0.
    """
    scale = torch.as_tensor(scale, dtype=first.dtype, device=first.device)
    found: tuple[Tensor, Tensor] = _LogSumExp.apply(first, second, scale, tile, both)
    return found


def two_way_logsumexp(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "C D"],
    every_first: Float[Tensor, "N D"],
    every_second: Float[Tensor, "M D"],
    scale: Float[Tensor, ""] | float,
    tile: int,
) -> tuple[Float[Tensor, "B"], Float[Tensor, "C"]]:
    """Return the logsumexp over ``every_second`` of each ``first``, and over ``every_first`` of each ``second``.

    In one process both read the same tiles.
    """
    if world_size() == 1:
        return tiled_logsumexp(first, second, scale, tile, both=True)
    forth, _ = tiled_logsumexp(first, every_second, scale, tile)
    back, _ = tiled_logsumexp(second, every_first, scale, tile)
    return forth, back


class _LogSumExp(torch.autograd.Function):
    """Keeps the vectors and the logsumexps."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, first: Tensor, second: Tensor, scale: Tensor, tile: int, both: bool
    ) -> tuple[Tensor, Tensor]:
        rows, columns = Online(len(first), first), Online(len(second), first)
        for row, column, logits in products(first, second, scale, tile):
            rows.add(row, logits)
            if both:
                columns.add(column, logits.T)
        found = rows.logsumexp(), columns.logsumexp() if both else columns.total
        ctx.save_for_backward(first, second, scale, *found)
        ctx.settings = tile, both  # type: ignore[attr-defined]
        return found

    @staticmethod
    def backward(ctx: Any, to_rows: Tensor, to_columns: Tensor) -> tuple[Tensor | None, ...]:
        first, second, scale, rows, columns = ctx.saved_tensors
        tile, both = ctx.settings

        def slope(row: slice, column: slice, logits: Tensor) -> Tensor:
            found: Tensor = (logits - rows[row, None]).exp_().mul_(to_rows[row, None])
            if both:
                found.add_(logits.sub_(columns[column]).exp_().mul_(to_columns[column]))
            return found

        return *gradients(first, second, scale, tile, slope, ctx.needs_input_grad[:3]), None, None
