"""Maps follow the teacher's at several levels of detail."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kdmm.losses.precision import full_precision

__all__ = ["hierarchical_context"]

LEVELS = (4, 2, 1)
"""Sizes that maps are pooled to, those of the paper."""


@full_precision
def hierarchical_context(student: Float[Tensor, "N C H W"], teacher: Float[Tensor, "N C H W"]) -> Float[Tensor, "N"]:
    """The hierarchical context loss (HCL) of ReviewKD (Chen et al. 2021, arXiv:2104.09044), of each sample.

    With m_0 the mean squared difference of the maps, and m_1, m_2, m_3 that of the maps pooled to 4 x 4, 2 x 2 and
    1 x 1 places (means; those that are not smaller than the map are left out)::

        sum_k 2^-k m_k / sum_k 2^-k

    Args:
        student: maps.
        teacher: the same shape; it gets no gradient.
    """
    difference = student - teacher.detach()  # pooling is linear, so the difference is pooled
    levels = [
        difference,
        *(F.adaptive_avg_pool2d(difference, size) for size in LEVELS if size < min(student.shape[2:])),
    ]
    weights = [0.5**k for k in range(len(levels))]
    values = (weight * level.square().flatten(1).mean(1) for weight, level in zip(weights, levels, strict=True))
    first, *others = values
    return sum(others, start=first) / sum(weights)
