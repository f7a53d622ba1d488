"""A matrix of scaled inner products, a tile at a time, and the gradient through it."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError

__all__ = ["Wanted", "checked_tile", "gradients", "products"]

Wanted: TypeAlias = tuple[bool, bool, bool]
"""Whether (first, second, scale) are to get a gradient."""


def checked_tile(setting: str, tile: int | None) -> int | None:
    """Return ``tile``.

    Raises:
        InputError: it is below 1.
    """
    if tile is not None and tile < 1:
        raise InputError(f"{setting} is {tile}. Give 1 or more rows, such as 2048, or null for the whole matrix.")
    return tile


def blocks(length: int, tile: int) -> Iterator[slice]:
    """Yield the places of ``length`` rows, ``tile`` at a time and what remains at the end."""
    for start in range(0, length, tile):
        yield slice(start, min(start + tile, length))


def products(
    first: Float[Tensor, "B D"], second: Float[Tensor, "C D"], scale: Float[Tensor, ""], tile: int
) -> Iterator[tuple[slice, slice, Float[Tensor, "rows columns"]]]:
    """Yield which rows, which columns, and ``scale * first[rows] @ second[columns].T``, for all tiles."""
    for rows in blocks(len(first), tile):
        scaled = scale * first[rows]
        for columns in blocks(len(second), tile):
            yield rows, columns, scaled @ second[columns].T


def gradients(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "C D"],
    scale: Float[Tensor, ""],
    tile: int,
    slope: Callable[[slice, slice, Tensor], Tensor],
    wanted: Wanted,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of (first, second, scale) from the gradient of each tile, made once more.

    Args:
        first: as in `products`.
        second: as in `products`.
        scale: as in `products`.
        tile: as in `products`.
        slope: from (rows, columns, tile) to the gradient of the tile.
        wanted: which gradients are; the others are None.

    Raises:
        InputError: the gradients are to be differentiated again. PyTorch's own refusal, ``once_differentiable``, looks
            at what arrives alone, and would leave the tiles out of a second derivative without a word.
    """
    if torch.is_grad_enabled():
        raise InputError(
            "A loss in tiles has no second derivative (`create_graph=True`). Set the term's `tile` to null."
        )
    with torch.autocast(first.device.type, enabled=False):  # the backward pass may run inside one
        return _summed(first, second, scale, tile, slope, wanted)


def _summed(
    first: Tensor,
    second: Tensor,
    scale: Tensor,
    tile: int,
    slope: Callable[[slice, slice, Tensor], Tensor],
    wanted: Wanted,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    to_first = torch.zeros_like(first) if wanted[0] or wanted[2] else None
    to_second = torch.zeros_like(second) if wanted[1] else None
    for rows, columns, logits in products(first, second, scale, tile):
        arriving = slope(rows, columns, logits)
        if to_first is not None:
            to_first[rows].addmm_(arriving, second[columns])
        if to_second is not None:
            to_second[columns].addmm_(arriving.T, first[rows])
    to_scale = None
    if to_first is not None and wanted[2]:  # so far the gradients lack the factor scale
        parts = [torch.vdot(to_first[rows].flatten(), first[rows].flatten()) for rows in blocks(len(first), tile)]
        to_scale = torch.stack(parts).sum() if parts else torch.zeros_like(scale)
    for gradient in (to_first, to_second):
        if gradient is not None:
            gradient.mul_(scale)
    return to_first if wanted[0] else None, to_second, to_scale
