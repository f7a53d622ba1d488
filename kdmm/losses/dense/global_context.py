"""Relations between a map's places, gathered into one vector: the global part of FGD."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.losses.adapters import conv2d, linear
from kdmm.losses.precision import full_precision

__all__ = ["GlobalContext"]

layer_norm = full_precision(F.layer_norm)
pooled = full_precision(lambda x, attention: (x.flatten(2) * attention.flatten(2).softmax(2)).sum(2))


class GlobalContext(nn.Module):
    """The block of GcNet (Cao et al. 2019, arXiv:1904.11492): a map plus what its places say together.

    ::

        R(x) = x + W₂ relu(LN(W₁ sum_j softmax_j(w x_j) x_j))

    W₂ is zero at first, so R(x) = x.

    Args:
        channels: of the map; W₁ halves them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(1, channels // 2)
        self.attend = nn.Conv2d(channels, 1, 1)
        self.narrow = nn.Linear(channels, middle)
        self.norm = nn.LayerNorm(middle)
        self.widen = nn.Linear(middle, channels)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Return the map with the context of its places added to each."""
        context = pooled(x, conv2d(x, self.attend.weight, self.attend.bias))
        context = linear(context, self.narrow.weight, self.narrow.bias)
        context = F.relu(layer_norm(context, self.norm.normalized_shape, self.norm.weight, self.norm.bias))
        return x + linear(context, self.widen.weight, self.widen.bias)[:, :, None, None]
