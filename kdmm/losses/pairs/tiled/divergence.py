"""The KL of each row and column of a student's matrix of scaled inner products from a teacher's, in tiles."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

from kdmm.distributed import gather, world_size
from kdmm.losses.pairs.tiled.blocks import gradients, products
from kdmm.losses.pairs.tiled.online import Online

__all__ = ["tiled_divergences"]


def tiled_divergences(
    student: tuple[Float[Tensor, "B D"], Float[Tensor, "C D"]],
    teacher: tuple[Float[Tensor, "B E"], Float[Tensor, "C E"]],
    scales: tuple[Float[Tensor, ""] | float, Float[Tensor, ""] | float],
    counts: tuple[tuple[int, ...], tuple[int, ...]],
    tile: int,
) -> tuple[Float[Tensor, "B"], Float[Tensor, "C"]]:
    """Return KL(softmax(teacher) || softmax(student)) of each row here, and of each column here.

    Rows are of the first modality here against the second of all ranks, columns of the second here against the first
    of all ranks. Exactly 0 where the logits are equal; NaN for a row or column without any.

    Args:
        student: the vectors of both modalities.
        teacher: the teacher's; they get no gradient.
        scales: what multiplies the student's inner products, and the teacher's.
        counts: `kdmm.distributed.row_counts` of each modality.
        tile: rows and columns a tile.
    """
    first, second = student
    ours, theirs = (torch.as_tensor(scale, dtype=first.dtype, device=first.device) for scale in scales)
    found: tuple[Tensor, Tensor]
    if world_size() == 1:
        found = _Divergence.apply(first, second, ours, *teacher, theirs, tile, True)
        return found
    directions = []
    for at, other in ((0, 1), (1, 0)):
        columns, their_columns = (
            gather(student[other], True, counts[other]),
            gather(teacher[other], False, counts[other]),
        )
        found = _Divergence.apply(student[at], columns, ours, teacher[at], their_columns, theirs, tile, False)
        directions.append(found[0])
    return directions[0], directions[1]


class _Divergence(torch.autograd.Function):
    """Keeps the vectors of both models and the logsumexps."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        first: Tensor,
        second: Tensor,
        scale: Tensor,
        their_first: Tensor,
        their_second: Tensor,
        their_scale: Tensor,
        tile: int,
        both: bool,
    ) -> tuple[Tensor, Tensor]:
        rows, their_rows = (Online(len(first), first) for _ in range(2))
        columns, their_columns = (Online(len(second), first) for _ in range(2))
        tiles = products(first, second, scale, tile), products(their_first, their_second, their_scale, tile)
        for (row, column, logits), (_, _, theirs) in zip(*tiles, strict=True):
            gaps = theirs - logits
            rows.add(row, logits)
            their_rows.add(row, theirs, gaps)
            if both:
                columns.add(column, logits.T)
                their_columns.add(column, theirs.T, gaps.T)
        kept = [each.logsumexp() for each in (rows, their_rows, columns, their_columns)]
        ctx.save_for_backward(first, second, scale, their_first, their_second, their_scale, *kept)
        ctx.settings = tile, both  # type: ignore[attr-defined]
        forth = their_rows.mean() - kept[1] + kept[0]
        return forth, their_columns.mean() - kept[3] + kept[2] if both else columns.total

    @staticmethod
    def backward(ctx: Any, to_rows: Tensor, to_columns: Tensor) -> tuple[Tensor | None, ...]:
        first, second, scale, their_first, their_second, their_scale, *kept = ctx.saved_tensors
        rows, their_rows, columns, their_columns = kept
        tile, both = ctx.settings
        their_tiles = products(their_first, their_second, their_scale, tile)  # in the order of the student's

        def slope(row: slice, column: slice, logits: Tensor) -> Tensor:
            _, _, theirs = next(their_tiles)
            found: Tensor = (logits - rows[row, None]).exp_()
            found.sub_((theirs - their_rows[row, None]).exp_()).mul_(to_rows[row, None])
            if both:
                back = logits.sub_(columns[column]).exp_().sub_(theirs.sub_(their_columns[column]).exp_())
                found.add_(back.mul_(to_columns[column]))
            return found

        found = gradients(first, second, scale, tile, slope, ctx.needs_input_grad[:3])
        return *found, None, None, None, None, None
