"""Hadamard matrices."""

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError

__all__ = ["hadamard"]


def hadamard(size: int) -> Float[Tensor, "D D"]:
    """Return a matrix of 1 and -1 in float64 whose rows are orthogonal: H Hᵀ = size · I.

    Paley's constructions over primes, doubled as often as needed (Sylvester). They give every multiple of 64 up to
    2688 and most beyond, and two thirds of the multiples of 4; numbers other than 1, 2 and these have no such matrix.

    Raises:
        InputError: none of this size is found.
    """
    parts = [size]
    while parts[-1] % 2 == 0:
        parts.append(parts[-1] // 2)
    for part in reversed(parts):  # the smallest first: powers of 2 are Sylvester's own
        found = _base(part)
        if found is not None:
            for _ in range(parts.index(part)):
                found = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), found)
            return found
    raise InputError(
        f"PHIS: the teacher's width is {size}, for which no Hadamard matrix is known here; there are matrices for "
        "multiples of 64 and many of 4. Tap a layer of another width, or leave `standardize` out."
    )


def _base(size: int) -> Tensor | None:
    """Return a matrix of this size that is no doubled one; None if Paley's constructions give none."""
    if size == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    q = size - 1
    if _is_prime(q) and q % 4 == 3:
        bordered = _bordered(q)
        bordered[1:, 0] = -1.0
        return bordered + torch.eye(size, dtype=torch.float64)
    q = size // 2 - 1
    if size % 2 == 0 and _is_prime(q) and q % 4 == 1:
        off, on = torch.tensor([[[1.0, 1.0], [1.0, -1.0]], [[1.0, -1.0], [-1.0, -1.0]]], dtype=torch.float64)
        return torch.kron(_bordered(q), off) + torch.kron(torch.eye(q + 1, dtype=torch.float64), on)
    return None


def _bordered(q: int) -> Tensor:
    """Return Jacobsthal's matrix of the prime q, 1 where i - j is a square and -1 where it is none, bordered by ones.

    The corner is 0, as the diagonal is.
    """
    character = torch.full((q,), -1.0, dtype=torch.float64)
    character[torch.arange(1, q) ** 2 % q] = 1.0
    character[0] = 0.0
    places = torch.arange(q)
    bordered = torch.ones(q + 1, q + 1, dtype=torch.float64)
    bordered[0, 0] = 0.0
    bordered[1:, 1:] = character[(places[:, None] - places[None]) % q]
    return bordered


def _is_prime(q: int) -> bool:
    return q > 1 and all(q % d for d in range(2, int(q**0.5) + 1))
