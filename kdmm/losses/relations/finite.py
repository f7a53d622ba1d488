"""Roots and unit vectors with finite gradients where a length is zero."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["root", "unit"]


def root(squares: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Return the square root, with the gradient 0 where it is 0; below 0 (by rounding) counts as 0."""
    above = squares > 0
    return torch.where(above, torch.where(above, squares, 1.0).sqrt(), 0.0)


def unit(x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """Scale the last dimension to unit length; a vector of zeros stays, and its gradient is not scaled.

    ``F.normalize`` divides such a vector by 1e-12, and its gradient with it.
    """
    squares = x.square().sum(-1, keepdim=True)
    return x / torch.where(squares > 0, squares, 1.0).sqrt()
