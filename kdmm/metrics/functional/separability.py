"""How well a hyperplane tells two modalities apart."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.metrics.functional.ranks import check_finite

__all__ = ["linear_separability"]

SHRINKAGE = 0.1
"""Without it a covariance of fewer samples than dimensions has no inverse."""


@torch.no_grad()
def linear_separability(
    first: Float[Tensor, "N D"],
    second: Float[Tensor, "M D"],
    first_half: Bool[Tensor, "N"],
    second_half: Bool[Tensor, "M"],
    shrinkage: float = SHRINKAGE,
) -> Float[Tensor, ""]:
    """Return the held-out accuracy of Fisher's linear discriminant between two modalities: 0.5 chance, 1 separated.

    Each half of the samples is judged by the discriminant of the other half (Fisher 1936,
    https://doi.org/10.1111/j.1469-1809.1936.tb02137.x). With mean m and covariance C of each modality and
    ``S = (C_1 + C_2) / 2``, shrunk to ``(1 - s) S + s tr(S) / D I``, what has ``w (x - (m_1 + m_2) / 2) > 0`` for
    ``w = S⁻¹ (m_1 - m_2)`` is held for the first modality. Both modalities count alike, whatever their numbers.

    A closed form: no generator, no stopping rule. It computes in float64.

    Args:
        first: embeddings of one modality.
        second: embeddings of the other.
        first_half: which of them make one half; all embeddings of a sample belong in the same.
        second_half: the same of the other modality.
        shrinkage: s.

    Raises:
        ValueError: an embedding is NaN or infinite.
    """
    check_finite(first, "first modality")
    check_finite(second, "second modality")
    first, second = first.double(), second.double()
    right_first = right_second = first.new_zeros(())
    for held_out in (True, False):
        direction, threshold = _discriminant(first[first_half != held_out], second[second_half != held_out], shrinkage)
        right_first = right_first + (first[first_half == held_out] @ direction > threshold).sum()
        right_second = right_second + (second[second_half == held_out] @ direction <= threshold).sum()
    return ((right_first / len(first) + right_second / len(second)) / 2).float()


def _discriminant(
    first: Float[Tensor, "N D"], second: Float[Tensor, "M D"], shrinkage: float
) -> tuple[Float[Tensor, "D"], Float[Tensor, ""]]:
    """Return w and the value of ``w x`` above which x is of the first."""
    means = first.mean(0), second.mean(0)
    spreads = [(x - mean).T @ (x - mean) / len(x) for x, mean in zip((first, second), means, strict=True)]
    scatter = (spreads[0] + spreads[1]) / 2
    identity = torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)
    size = scatter.diagonal().mean()
    pooled = (1 - shrinkage) * scatter + shrinkage * size * identity
    direction = torch.linalg.solve(pooled if size > 0 else identity, means[0] - means[1])  # 0: each is one point
    return direction, direction @ (means[0] + means[1]) / 2
