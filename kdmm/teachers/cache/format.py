"""What a format is: how answers become tensors that are kept, and what that loses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Format", "cosines", "merged"]


class Format(ABC):
    """Turns answers (N, ...) of 32 bits into named tensors of N rows that are kept, and back."""

    name: str

    @abstractmethod
    def encode(self, answers: Float[Tensor, "N ..."]) -> dict[str, Tensor]:
        """Return what is kept, by suffixes of the answer's name."""

    @abstractmethod
    def decode(self, kept: Mapping[str, Tensor]) -> Float[Tensor, "N ..."]:
        """Return the answers in float32, but for what was lost."""

    @abstractmethod
    def bytes_of(self, shape: tuple[int, ...]) -> int:
        """Return how many bytes an answer of this shape takes."""

    @property
    def unheld(self) -> str:
        """What cannot be kept, and what to do."""
        return ""

    def is_unheld(self, answers: Float[Tensor, "N ..."], again: Float[Tensor, "N ..."]) -> Bool[Tensor, ""]:
        """Return whether a number has become infinite, or none.

        Args:
            answers: as they were.
            again: as they are decoded.
        """
        return (torch.isfinite(answers) & ~torch.isfinite(again)).any()

    def losses(self, answers: Float[Tensor, "N ..."], again: Float[Tensor, "N ..."]) -> dict[str, Tensor]:
        """Return what was lost, each value with how several batches' are merged as the end of its name.

        Args:
            answers: as they were, N at least 1.
            again: as they are decoded.
        """
        first, second = answers.flatten(1).double(), again.flatten(1).double()
        finite = torch.isfinite(first) & torch.isfinite(second)
        cosine = cosines(first, second)
        return {
            "difference_max": torch.where(finite, (first - second).abs(), 0.0).max(),
            "cosine_min": cosine.min(),
            "cosine_mean": cosine.mean(),
        }


def cosines(first: Float[Tensor, "N D"], second: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
    """Return the cosine of each pair of rows over the numbers that are finite in both; 1 of equal rows, zeros too."""
    finite = torch.isfinite(first) & torch.isfinite(second)
    found = torch.cosine_similarity(
        torch.where(finite, first, 0.0).double(), torch.where(finite, second, 0.0).double(), dim=1, eps=1e-30
    )
    return torch.where((first == second).all(1), 1.0, found)


def merged(parts: list[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return what was lost over several batches.

    Args:
        parts: rows, and what was lost of them.
    """
    names = dict.fromkeys(name for _, losses in parts for name in losses)
    found = {}
    for name in names:
        values = [(rows, losses[name]) for rows, losses in parts if name in losses]
        if name.endswith("_mean"):
            found[name] = sum(rows * value for rows, value in values) / sum(rows for rows, _ in values)
        else:
            found[name] = (max if name.endswith("_max") else min)(value for _, value in values)
    return found
