"""The teacher's activations are likely given the student's: variational information distillation."""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.losses.adapters import Fit
from kdmm.losses.features.places import by_sample, channels_last, checked_layers, compared, named_layers
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm
from kdmm.outputs import Batch, Outputs, read

__all__ = ["VID", "gaussian_surprise"]

LEAST_VARIANCE = 1e-5
"""Keeps the loss bounded from below where a channel is predicted exactly."""

UNIT_VARIANCE = 0.5413248546129181
"""log(e - 1), whose softplus is 1: at first the loss is half the squared error."""


@full_precision
def gaussian_surprise(
    mean: Float[Tensor, "N ..."], teacher: Float[Tensor, "N ..."], raw_variance: Float[Tensor, "C"]
) -> Float[Tensor, "N *S"]:
    """Mean over channels of -log of the density of the teacher's activation, in nats but for ½ log 2π.

    ::

        1/C sum_c  ½ log σ_c² + (t_c - μ_c)² / (2 σ_c²),      σ_c² = softplus(raw_variance_c) + 1e-5

    Args:
        mean: what the student predicts, μ: vectors (N, C), tokens (N, T, C) or maps (N, C, H, W).
        teacher: t, the same shape; it gets no gradient.
        raw_variance: one number a channel, the same at all places.

    Returns:
        (N,), (N, T) or (N, H, W); negative where the prediction is close and the variance small.
    """
    variance = F.softplus(raw_variance) + LEAST_VARIANCE
    squares = channels_last((teacher.detach() - mean).square())
    return (variance.log() + squares / variance).mean(-1) / 2


class VID(SampleTerm):
    """Sum over layers of the mean `gaussian_surprise` (Ahn et al. 2019, arXiv:1904.05835).

    It maximizes a lower bound of the mutual information of the two models' activations: a learned map of the student's
    activation gives the mean of a normal distribution, and each channel has a learned variance. We differ from the
    paper in the mean over elements (there a sum), and in the map, one 1 x 1 convolution (or linear map) a layer, made
    also where widths are equal, after which the student's map is resized where sizes differ; there a small network.

    Args:
        layers: the student's name and the teacher's name of each layer.
    """

    paper = "Ahn et al. 2019, arXiv:1904.05835"

    def __init__(self, layers: Mapping[str, str]) -> None:
        super().__init__()
        self.layers = checked_layers("VID", layers)
        self.adapters = nn.ModuleList(Fit(always=True) for _ in self.layers)
        self.raw_variances = nn.ParameterList()

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the maps and variances."""
        for (ours, theirs), adapter in zip(self.layers, self.adapters, strict=True):
            target = read(teacher, theirs, "teacher")
            cast(Fit, adapter).build(read(student, ours, "student"), target)
            width = channels_last(target).shape[-1]
            self.raw_variances.append(nn.Parameter(torch.full((width,), UNIT_VARIANCE, device=target.device)))

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's part of the sum over layers of the means over places."""
        layers, there = compared(student, teacher, self.layers)
        values = [
            by_sample(gaussian_surprise(adapter(ours, theirs), theirs, raw_variance), places, there)
            for (ours, theirs, places), adapter, raw_variance in zip(
                layers, self.adapters, self.raw_variances, strict=True
            )
        ]
        return torch.stack(values).sum(0), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the layers' names."""
        return named_layers(arguments)
