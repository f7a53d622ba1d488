"""The inner edge of masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

__all__ = ["inner_boundary"]


def inner_boundary(masks: Bool[Tensor, "N H W"], distance: int) -> Bool[Tensor, "N H W"]:
    """Return the pixels of masks that are at most ``distance`` steps from a pixel outside, steps to all 8 neighbours.

    What is beyond the picture is outside, as in Boundary IoU (Cheng et al. 2021, https://arxiv.org/abs/2103.16562).

    Args:
        masks: of objects or classes.
        distance: in pixels, at least 1.
    """
    outside = F.pad((~masks).float(), [distance] * 4, value=1.0)
    near = F.max_pool2d(outside[:, None], 2 * distance + 1, stride=1)[:, 0]
    return masks & near.to(torch.bool)
