"""What a model itself says it loses."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.losses.term import Term
from kdmm.outputs import Batch, Outputs

__all__ = ["OwnLoss"]

PREFIX = "loss/"


class OwnLoss(Term):
    """The sum of losses that the student computes itself, for models whose hard loss cannot be told from outputs.

    Such a model, a detector with its own assignment of boxes to anchors, gives scalars called ``loss/<part>``. In
    several processes they are this rank's own, so the mean over ranks is the loss where the model divides by the
    number of its samples and all ranks have as many.

    Args:
        parts: which of them, such as ``[classification, bbox_regression]``; None: all.
    """

    paper = "the model's own"

    def __init__(self, parts: Sequence[str] | None = None) -> None:
        super().__init__()
        self.parts = None if parts is None else tuple(parts)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the sum.

        Raises:
            InputError: the student computes no such loss.
        """
        given = {name.removeprefix(PREFIX): x for name, x in student.items() if name.startswith(PREFIX)}
        if not given:
            raise InputError(
                f"OwnLoss: the student gives no `loss/<part>`, only {', '.join(sorted(student)) or 'nothing'}. Take a "
                "model that computes its own loss, or a term that reads its outputs. A detector computes it on marked "
                "pictures: set `canvas` of the data."
            )
        for part in self.parts or ():
            if part not in given:
                raise InputError(
                    f"OwnLoss.parts: the student computes no {part!r}; it computes {', '.join(given)}."
                    + nearest(part, given)
                )
        chosen = [_full(given[part]) for part in self.parts or given]
        total: Tensor = sum(chosen[1:], chosen[0])
        return total

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return nothing: what is there is checked with the first batch."""
        return frozenset(), frozenset()


def _full(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
