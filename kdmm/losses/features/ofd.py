"""Activations before the ReLU follow the teacher's, but for what the ReLU will remove: OFD."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.distributed import all_reduce_sum
from kdmm.losses.adapters import Fit
from kdmm.losses.features.places import by_sample, channels_last, checked_layers, compared, named_layers
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm
from kdmm.outputs import Batch, Outputs, read

__all__ = ["OFD", "partial_error"]


@full_precision
def partial_error(
    student: Float[Tensor, "N ..."], teacher: Float[Tensor, "N ..."], margins: Float[Tensor, "C"]
) -> Float[Tensor, "N *S"]:
    """Partial squared distance from the teacher's margin ReLU, the mean over the channels of each place.

    With t = max(teacher, margin), the margin of the channel being 0 or less, an element is::

        0           where s <= t <= 0: the student is off, and more so than is asked
        (s - t)²    elsewhere

    Args:
        student: vectors (N, C), tokens (N, T, C) or maps (N, C, H, W), before a ReLU.
        teacher: the same shape, before a ReLU; it gets no gradient.
        margins: of each channel.
    """
    ours, target = channels_last(student), torch.maximum(channels_last(teacher.detach()), margins)
    enough = (ours <= target) & (target <= 0)
    return torch.where(enough, 0.0, (ours - target).square()).mean(-1)


class Margins(nn.Module):
    """The mean of each channel's negative values over all that has passed in training, of all ranks.

    A channel of which nothing negative has been seen has margin 0.
    """

    count: Tensor
    mean: Tensor

    def __init__(self, teacher: Tensor) -> None:
        super().__init__()
        zeros = torch.zeros(channels_last(teacher).shape[-1], device=teacher.device)
        self.register_buffer("count", zeros.to(torch.int64))
        self.register_buffer("mean", zeros)

    def forward(self, teacher: Float[Tensor, "N ..."], places: Bool[Tensor, "N *S"]) -> Float[Tensor, "C"]:
        """Return the margins; in training they learn from this batch first."""
        if self.training and torch.is_grad_enabled():
            vectors = channels_last(teacher)[places].detach().to(self.mean.dtype)
            count = all_reduce_sum((vectors < 0).sum(0))
            total = self.count + count
            change = all_reduce_sum(vectors.clamp(max=0).sum(0)) - count * self.mean
            self.mean += change / total.clamp(min=1)
            self.count.copy_(total)
        return self.mean


class OFD(SampleTerm):
    """Sum over layers of the mean `partial_error`: overhauled feature distillation (Heo et al. 2019, arXiv:1904.01866).

    The layers are those before a ReLU, at the ends of a network's stages, in both models. We differ from the paper:

    - A margin is the expected negative value of its channel. The paper takes it from the statistics of the teacher's
      BatchNorm, assuming a normal distribution; here it is estimated from what passes, as a mean over the whole
      training, which needs no BatchNorm and no access to the teacher. It moves in the first steps. Its state is in the
      checkpoint.
    - The regressor is a 1 x 1 convolution with a bias where widths differ, without BatchNorm, whose statistics would
      differ between one process and several.
    - A layer's value is a mean over elements, those left out counting as 0, where the paper sums them; layers weigh
      alike.

    Args:
        layers: the student's name and the teacher's name of each layer.
    """

    paper = "Heo et al. 2019, arXiv:1904.01866"

    def __init__(self, layers: Mapping[str, str]) -> None:
        super().__init__()
        self.layers = checked_layers("OFD", layers)
        self.adapters = nn.ModuleList(Fit() for _ in self.layers)
        self.margins = nn.ModuleList()

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapters, and the margins of the teacher's widths."""
        for (ours, theirs), adapter in zip(self.layers, self.adapters, strict=True):
            target = read(teacher, theirs, "teacher")
            cast(Fit, adapter).build(read(student, ours, "student"), target)
            self.margins.append(Margins(target))

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's part of the sum over layers of the means over places."""
        layers, there = compared(student, teacher, self.layers)
        values = [
            by_sample(partial_error(adapter(ours, theirs), theirs, margins(theirs, places)), places, there)
            for (ours, theirs, places), adapter, margins in zip(layers, self.adapters, self.margins, strict=True)
        ]
        return torch.stack(values).sum(0), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the layers' names."""
        return named_layers(arguments)
