"""Scores without their scale."""

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.losses.precision import full_precision

__all__ = ["standardized"]

TINY = 1e-14  # a variance; of equal scores all are 0, and the gradient stays finite


@full_precision
def standardized(scores: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """Z-scores of each row: (z - mean(z)) / std(z), with the population's std (1/C).

    Logit standardization (Sun et al. 2024, arXiv:2403.01427). A class masked by -inf stays so, and counts neither for
    the mean nor for the std. Equal scores become 0.

    Args:
        scores: of C classes.
    """
    masked = scores.isneginf()
    count = (~masked).sum(1, keepdim=True)
    centred = torch.where(masked, 0.0, scores)
    centred = torch.where(masked, 0.0, centred - centred.sum(1, keepdim=True) / count)
    variance = centred.square().sum(1, keepdim=True) / count
    return torch.where(masked, scores, centred * (variance + TINY).rsqrt())
