"""From a part of the student's places the teacher's whole activation is generated: MGD."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.losses.adapters import Adapter, Fit, conv2d
from kdmm.losses.features.hint import hint_error
from kdmm.losses.features.places import by_sample, compared, over_channels
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, read

__all__ = ["Generator", "MaskedFeature"]

conv1d = full_precision(F.conv1d)


class Generator(nn.Module):
    """Two convolutions over 3 or 3 x 3 places with a ReLU between, of as many channels as come in."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.is_map = like.ndim == 4
        channels = like.shape[1] if self.is_map else like.shape[2]
        kind = nn.Conv2d if self.is_map else nn.Conv1d
        self.first, self.second = kind(channels, channels, 3, padding=1), kind(channels, channels, 3, padding=1)
        self.to(like.device)

    def forward(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """Return what is generated from tokens (N, T, D) or maps (N, C, H, W), in the same shape."""
        convolve, x = (conv2d, x) if self.is_map else (conv1d, x.mT)
        x = F.relu(convolve(x, self.first.weight, self.first.bias, padding=1))
        x = convolve(x, self.second.weight, self.second.bias, padding=1)
        return x if self.is_map else x.mT


class MaskedFeature(SampleTerm):
    """Masked generative distillation, MGD (Yang et al. 2022, arXiv:2205.01529).

    The student's activation is brought to the teacher's shape, some of its places are set to zero, the same in all
    channels, and a small network (see `Generator`) must give the teacher's activation at all places; the value is the
    mean `hint_error`. In training the places are drawn anew for each sample and batch, from PyTorch's generator, which
    training seeds; in evaluation none is masked, so the value is comparable between evaluations, not with training.

    We differ from the paper in the mean over elements (there a sum, with weights such as 2e-5), and in taking tokens
    too, whose generator convolves along them.

    Args:
        student: what the student's tokens or map are called.
        teacher: what the teacher's are called.
        ratio: how many of the places are masked, 0 or more and below 1; the authors' one-stage detectors take 0.65.
        adapter: maps the student's activation to the teacher's shape; None: `Fit`.
    """

    paper = "Yang et al. 2022, arXiv:2205.01529"

    def __init__(self, student: str, teacher: str, ratio: float = 0.5, adapter: Adapter | None = None) -> None:
        super().__init__()
        self.layers = ((student, teacher),)
        self.ratio = checked_number("MaskedFeature: ratio", ratio, least=0.0, most=1.0)
        if self.ratio == 1:
            raise InputError("MaskedFeature: ratio is 1, which leaves nothing to generate from. Give a number below 1.")
        self.adapter = Fit() if adapter is None else adapter

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapter and the generator."""
        ours, theirs = self.layers[0]
        target = read(teacher, theirs, "teacher")
        if target.ndim not in (3, 4):
            raise InputError(
                f"MaskedFeature: teacher.{theirs} is {tuple(target.shape)} and has no places to mask. Name tokens "
                "(B, T, D) or maps (B, C, H, W), or take Hint."
            )
        self.adapter.build(read(student, ours, "student"), target)
        self.generator = Generator(target)

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's part of the mean over places."""
        ((ours, theirs, places),), there = compared(student, teacher, self.layers)
        adapted = self.adapter(ours, theirs)
        keep = places  # the adapter's bias is not for padding either
        if self.training:
            keep = keep & (torch.rand(places.shape, device=places.device) >= self.ratio)
        adapted = torch.where(over_channels(keep, adapted), adapted, 0.0)
        return by_sample(hint_error(self.generator(adapted), theirs), places, there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))
