"""Losses over all processes: each rank computes its share, and the mean over ranks is the value of one process.

The convention, kept by every term:

- A rank's rows are its own samples; what they are compared with is gathered from all ranks.
- A rank returns ``world_size * (sum over its rows) / (rows on all ranks)``. The mean over ranks, which is what a logger
  with ``sync_dist`` and the gradient average of DDP take, is then the loss of all samples in one process, for unequal
  numbers of rows too.
- The backward pass of ``gather`` sums over ranks, so every rank must call it, in the same order, and must call
  ``backward``: a term multiplies by masks and never returns early.
- The exchanges run in a process group of their own. DDP with ``find_unused_parameters`` averages the gradients of a
  tower that had no input on one rank before that rank's backward pass begins; in one shared group the other ranks
  would answer it with a ``gather``, and the processes abort.

Without a process group, or with one process, these are plain arithmetic without communication.
"""

import functools

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["all_reduce_sum", "gather", "global_mean", "rank", "row_counts", "rows_here", "world_size"]


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


def all_reduce_sum(x: Tensor) -> Tensor:
    """Return the sum of ``x`` (any shape, the same on every rank) over ranks, without gradient."""
    total = x.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total, group=_own_group(dist.group.WORLD))
    return total


def row_counts(x: Tensor) -> tuple[int, ...]:
    """Return the number of rows of ``x`` on each rank; one exchange serves all ``gather`` calls of a term."""
    if world_size() == 1:
        return (len(x),)
    mine = torch.tensor([len(x)], device=x.device)
    counts = [torch.empty_like(mine) for _ in range(world_size())]
    dist.all_gather(counts, mine, group=_own_group(dist.group.WORLD))
    return tuple(int(count) for count in torch.cat(counts).tolist())


def rows_here(counts: tuple[int, ...]) -> slice:
    """Return where this rank's rows are among the gathered ones."""
    first = sum(counts[: rank()])
    return slice(first, first + counts[rank()])


def gather(x: Tensor, grad: bool = True, counts: tuple[int, ...] | None = None) -> Tensor:
    """Stack the rows of all ranks, in rank order.

    Args:
        x: (B, ...), where B may differ between ranks and the rest may not.
        grad: let the gradient flow back: the backward pass sums it over ranks and keeps this rank's rows. False for
            what a teacher gives, and for masks and labels.
        counts: ``row_counts(x)`` where the caller has it.

    Returns:
        (N, ...), the rows of all ranks; ``x`` itself in one process.
    """
    if world_size() == 1:
        return x if grad else x.detach()
    counts = row_counts(x) if counts is None else counts
    if not grad:
        return _all_gather(x.detach(), counts)
    if torch.is_grad_enabled() and not x.requires_grad:
        # A rank whose rows are constants (no sample has the modality) must still take part in the backward exchange.
        x = x.detach().requires_grad_()
    gathered: Tensor = _Gather.apply(x, counts)
    return gathered


def global_mean(values: Float[Tensor, "B"], mask: Bool[Tensor, "B"]) -> Float[Tensor, ""]:
    """Return this rank's share of the mean of ``values`` where ``mask`` is true, over the rows of all ranks.

    The share is ``world_size * (masked sum here) / (true rows on all ranks)``, and 0, still with a gradient function,
    where no row is true. Values must be finite, also where the mask is false.
    """
    count = all_reduce_sum(mask.sum())
    return torch.where(mask, values, 0.0).sum() * world_size() / count.clamp(min=1)


@functools.lru_cache(maxsize=1)
def _own_group(world: dist.ProcessGroup | None) -> dist.ProcessGroup:
    """Return a group of all ranks besides ``world``, made once for it (by all ranks: their first exchange)."""
    group = dist.new_group()
    assert isinstance(group, dist.ProcessGroup)  # a number stands for "not a member"; every rank is one
    return group


def _all_gather(x: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Gather unequal numbers of rows: pad to the longest, exchange, cut the padding off."""
    if x.dtype is torch.bool:  # not every backend moves bool
        return _all_gather(x.to(torch.uint8), counts).to(torch.bool)
    longest = max(counts)
    padded = x.new_zeros((longest, *x.shape[1:]))
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded, group=_own_group(dist.group.WORLD))
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is the sum over ranks of the gradients at this rank's rows."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.rows = rows_here(counts)  # type: ignore[attr-defined]
        return _all_gather(x, counts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return all_reduce_sum(gradients[0])[ctx.rows], None  # type: ignore[attr-defined]
