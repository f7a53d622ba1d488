"""The accuracy of each class."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

__all__ = ["per_class_accuracy"]


def per_class_accuracy(
    correct: Bool[Tensor, "N"], target: Int64[Tensor, "N"]
) -> tuple[Int64[Tensor, "C"], Float32[Tensor, "C"]]:
    """Return the C classes that occur, in order, and which share of each one's samples is right.

    Args:
        correct: whether a sample was classified right.
        target: its class.
    """
    classes, which = torch.unique(target, return_inverse=True)
    return classes, which[correct].bincount(minlength=len(classes)) / which.bincount(minlength=len(classes))
