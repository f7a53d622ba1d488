"""Where the student's activations are large follows where the teacher's are."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.losses.features.places import channels_last, checked_layers, compared, named_layers
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["AttentionTransfer", "attention_distance"]


@full_precision
def attention_distance(
    student: Float[Tensor, "N ..."], teacher: Float[Tensor, "N ..."], places: Bool[Tensor, "N *S"]
) -> Float[Tensor, "N"]:
    """Distance between attention maps, of each sample.

    A place's attention is its vector's squared length; a sample's map of them is scaled to unit length, u of the
    student and v of the teacher, both over the S places that count::

        1/S |u - v|²

    Args:
        student: tokens (N, T, D) or maps (N, C, H, W).
        teacher: of the same kind; its width may differ, and its places: the student's attention is then interpolated
            to them. It gets no gradient.
        places: which of the teacher's places count.
    """
    ours, theirs = _attention(student), _attention(teacher.detach())
    if ours.shape != theirs.shape:
        mode = "linear" if ours.ndim == 2 else "bilinear"
        ours = F.interpolate(ours[:, None], size=theirs.shape[1:], mode=mode, align_corners=False)[:, 0]
    u, v = (F.normalize(torch.where(places, x, 0.0).flatten(1), dim=1) for x in (ours, theirs))
    return (u - v).square().sum(1) / places.flatten(1).sum(1).clamp(min=1)


def _attention(x: Float[Tensor, "N ..."]) -> Float[Tensor, "N *S"]:
    """Return the mean square at each place, which is the squared length up to a factor that the scaling removes."""
    return channels_last(x).square().mean(-1)


class AttentionTransfer(SampleTerm):
    """Sum over layers of the mean `attention_distance`: AT (Zagoruyko & Komodakis 2017, arXiv:1612.03928).

    We take the squared distance (as the authors' code does; the paper's formula has the distance itself, whose gradient
    is undefined where the two agree) and its mean over places, so that the paper's weight is 1000 or so. The mean over
    samples weighs each sample alike. Across architectures AT can harm: log the student alone beside it.

    Args:
        layers: the student's name and the teacher's name of each layer, tokens or maps; any widths and sizes.
    """

    paper = "Zagoruyko & Komodakis 2017, arXiv:1612.03928"

    def __init__(self, layers: Mapping[str, str]) -> None:
        super().__init__()
        self.layers = checked_layers("AttentionTransfer", layers)

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Check that the layers have places."""
        for ours, theirs in self.layers:
            first, second = read(student, ours, "student"), read(teacher, theirs, "teacher")
            if first.ndim not in (3, 4) or first.ndim != second.ndim:
                raise InputError(
                    f"AttentionTransfer: student.{ours} is {tuple(first.shape)} and teacher.{theirs} is "
                    f"{tuple(second.shape)}. Name two layers of tokens (B, T, D) or two of maps (B, C, H, W)."
                )

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's sum over layers."""
        layers, there = compared(student, teacher, self.layers)
        distances = torch.stack([attention_distance(*layer) for layer in layers]).sum(0)
        return scatter_present(distances, there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the layers' names."""
        return named_layers(arguments)
