"""Standardization of a teacher's features by one scale and a rotation: PHI-S."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.distributed import all_reduce_sum
from kdmm.errors import InputError
from kdmm.losses.features.hadamard import hadamard
from kdmm.losses.features.places import channels_last
from kdmm.losses.precision import full_precision

__all__ = ["PHIS", "phis_matrix", "phis_standardized"]


@full_precision
def phis_matrix(covariance: Float[Tensor, "D D"]) -> Float[Tensor, "D D"]:
    """Fit the PHI standardization (Ranzinger et al. 2024, arXiv:2410.01680) to a covariance.

    With the principal axes U and variances λ of the covariance, and a Hadamard matrix H with H Hᵀ = I::

        R = H Uᵀ / φ,      φ² = mean of λ

    so that each of the D dimensions of R (t - mean) has variance 1, and distances are only scaled, by 1/φ: errors of
    the student weigh alike in all directions. The inverse is φ² Rᵀ.

    Args:
        covariance: of the teacher's vectors, positive semi-definite.

    Raises:
        InputError: no Hadamard matrix of size D is known.
    """
    # once, and in float64 on the CPU: every rank gets the same axes, whatever it computes with
    variances, axes = torch.linalg.eigh(covariance.double().cpu())
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # an axis has no sign: choose one
    scale = variances.mean().clamp(min=torch.finfo(torch.float32).tiny).sqrt()
    rotation = hadamard(len(variances)) @ axes.T / len(variances) ** 0.5
    matrix: Tensor = (rotation / scale).to(covariance)
    return matrix


@full_precision
def phis_standardized(
    vectors: Float[Tensor, "*S D"], mean: Float[Tensor, "D"], matrix: Float[Tensor, "D D"]
) -> Float[Tensor, "*S D"]:
    """Return ``matrix (v - mean)`` of each vector.

    Args:
        vectors: a teacher's.
        mean: of such vectors.
        matrix: `phis_matrix` of their covariance.
    """
    return (vectors - mean) @ matrix.T


@full_precision
def _scatter(vectors: Float[Tensor, "N D"], mean: Float[Tensor, "D"]) -> Float[Tensor, "D D"]:
    return (vectors - mean).T @ (vectors - mean)


class PHIS(nn.Module):
    """The standardization of one tensor of a teacher: statistics of what passes first in training, then fixed.

    PHI-S of Ranzinger et al. 2024, arXiv:2410.01680: it brings teachers, and layers, of different scales to one, and
    keeps their geometry. The statistics are those of the first vectors of training, of all ranks; they are buffers, so
    a resumed run goes on with them. Until there are enough of them, ``is_fitted`` is false, what passes is unchanged,
    and a term that uses it counts nothing, so no student learns a target that still moves. (The paper fits the
    statistics before training.)

    Args:
        vectors: how many vectors (places of tokens or maps count one each) are enough; the batch that completes the
            number is taken whole. Ten times the width is a good measure.
    """

    paper = "Ranzinger et al. 2024, arXiv:2410.01680"

    count: Tensor
    mean: Tensor
    scatter: Tensor
    matrix: Tensor
    is_fitted: Tensor

    def __init__(self, vectors: int = 10_000) -> None:
        super().__init__()
        if vectors < 2:
            raise InputError(f"PHIS: vectors is {vectors}. Give at least 2; ten times the width is a good measure.")
        self.vectors = vectors

    def build(self, teacher: Tensor) -> None:
        """Make the buffers for a tensor of this shape: (B, D), (B, T, D) or (B, C, H, W)."""
        width = channels_last(teacher).shape[-1]
        hadamard(width)  # says so now if there is none
        device = teacher.device
        self.register_buffer("count", torch.tensor(0, device=device))
        self.register_buffer("mean", torch.zeros(width, device=device))
        self.register_buffer("scatter", torch.zeros(width, width, device=device))
        self.register_buffer("matrix", torch.eye(width, device=device))
        self.register_buffer("is_fitted", torch.tensor(False, device=device))

    def forward(self, teacher: Float[Tensor, "N ..."], places: Bool[Tensor, "N *S"]) -> Float[Tensor, "N ..."]:
        """Return the tensor with the vector at each place standardized; learn from it until enough have passed.

        Args:
            teacher: vectors (N, D), tokens (N, T, D) or maps (N, C, H, W).
            places: which places count for the statistics.
        """
        vectors = channels_last(teacher)
        if self.training and torch.is_grad_enabled() and not self.is_fitted:
            self._learn(vectors[places].detach().to(self.mean.dtype))
        standardized = phis_standardized(vectors, self.mean, self.matrix)
        return standardized.movedim(-1, 1) if teacher.ndim == 4 else standardized

    def _learn(self, vectors: Float[Tensor, "N D"]) -> None:
        """Add vectors to the statistics; as merged moments, for a sum of squares loses its digits to the mean."""
        new = all_reduce_sum(torch.tensor(len(vectors), device=vectors.device))
        mean = all_reduce_sum(vectors.sum(0)) / new.clamp(min=1)
        scatter = all_reduce_sum(_scatter(vectors, mean))
        total = self.count + new
        gap = mean - self.mean
        part = new.to(gap.dtype) / total.clamp(min=1)
        self.scatter += scatter + self.count * part * torch.outer(gap, gap)
        self.mean += part * gap
        self.count.copy_(total)
        if total >= self.vectors:
            self.matrix.copy_(phis_matrix(self.scatter / total))
            self.is_fitted.fill_(True)
