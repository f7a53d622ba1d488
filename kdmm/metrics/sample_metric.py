"""A metric that keeps something of every sample until all have been seen."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

__all__ = ["SampleMetric", "gather_rows"]


class SampleMetric(Metric, ABC):
    """Has states of one row a sample, stacked over batches and then over ranks.

    Args:
        states: their names.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, states: Sequence[str]) -> None:
        super().__init__(dist_sync_fn=gather_rows)
        for state in states:
            self.add_state(state, [], dist_reduce_fx="cat")

    def prepare(self, encode_text: Callable[[list[str]], Tensor]) -> None:
        """Look at the trained model before the samples of an evaluation come; a metric that need not does nothing.

        Args:
            encode_text: its text tower, from N texts to embeddings (N, D) on its device.
        """

    def append(self, state: str, rows: Tensor) -> None:
        """Add the rows (N, ...) of a batch."""
        getattr(self, state).append(rows)

    def stacked(self, state: str) -> Tensor:
        """Return all rows: of a list of batches in one process, of one tensor once ranks are synchronized."""
        parts = getattr(self, state)
        if isinstance(parts, list):
            return torch.cat(parts) if parts else torch.empty(0, device=self.device)
        rows: Tensor = parts
        return rows


def gather_rows(rows: Tensor, group: Any = None) -> list[Tensor]:
    """Return the rows (N, ...) of every rank, in rank order, as torchmetrics' ``dist_sync_fn``.

    Unlike ``gather_all_tensors`` it allows ranks without any batch: for these torchmetrics passes an empty float
    vector, whatever the state is, and ranks would then exchange different types.
    """
    forms: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(forms, (rows.dtype, tuple(rows.shape[1:])) if len(rows) else None, group=group)
    form = next((form for form in forms if form is not None), None)
    if form is not None and not len(rows):
        dtype, shape = form
        rows = rows.new_empty((0, *shape), dtype=dtype)
    gathered: list[Tensor] = gather_all_tensors(rows, group)
    return gathered
