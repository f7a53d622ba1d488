"""A model that answers every training batch twice, with what it draws drawn anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from kdmm import targets
from kdmm.models.preprocess import Preprocess
from kdmm.outputs import Outputs

__all__ = ["AGAIN", "Twice"]

AGAIN = "_again"
"""What is appended to the names of the second answer."""


class Twice(nn.Module):
    """Runs a model twice on each training batch: ``logits`` and ``logits_again`` differ by what dropout drew.

    For terms that compare the two, such as `kdmm.losses.RDrop`. A step takes about twice the time, and batch norm sees
    the batch twice. In evaluation, where nothing is drawn, the model runs once and both names stand for its answer.

    Args:
        model: any model that gives Outputs.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @classmethod
    def gives(cls, arguments: Mapping[str, Any]) -> frozenset[str] | None:
        """Return what the model gives, under both names; None if it does not say."""
        given = targets.gives(arguments.get("model"))
        return None if given is None else given | {f"{name}{AGAIN}" for name in given}

    @property
    def preprocess(self) -> Preprocess:
        """The model's."""
        return cast(Preprocess, self.model.preprocess)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Run the model."""
        first: Outputs = self.model(batch)
        second: Outputs = self.model(batch) if self.training else first
        return {**first, **{f"{name}{AGAIN}": tensor for name, tensor in second.items()}}
