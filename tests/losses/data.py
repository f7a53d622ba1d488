"""Random embeddings for tests of losses."""

import torch
import torch.nn.functional as F
from torch import Tensor


def unit(rows: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(x, dim=1).to(dtype)


def rotation(width: int, seed: int) -> Tensor:
    x = torch.randn(width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(x)[0]


def scalar(value: float, grad: bool = False) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=grad)


def flags(text: str) -> Tensor:
    """``"1101"`` as a mask."""
    return torch.tensor([character == "1" for character in text])
