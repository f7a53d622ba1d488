"""Each stage of the student, fused with the deeper ones, follows the teacher's stage: ReviewKD."""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.losses.adapters import conv2d
from kdmm.losses.features.hierarchical_context import hierarchical_context
from kdmm.losses.features.places import checked_layers, compared, named_layers, over_channels
from kdmm.losses.term import SampleTerm, checked_number
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["Fusion", "ReviewKD"]


class Fusion(nn.Module):
    """Attention-based fusion (ABF) of one stage of the student with what the deeper stages gave.

    The stage is brought to ``width`` channels by a 1 x 1 convolution; what comes from the deeper stages is enlarged to
    its size; a 1 x 1 convolution of both gives two attention maps (through a sigmoid), one for each, and their weighted
    sum is handed to the stage above. For the teacher's stage it is resized, and a 3 x 3 convolution makes its channels.

    Args:
        channels: of the student's stage.
        width: of what is handed on.
        target: channels of the teacher's stage.
        is_deepest: nothing comes from below.
    """

    def __init__(self, channels: int, width: int, target: int, is_deepest: bool) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, width, 1)
        self.attend = None if is_deepest else nn.Conv2d(2 * width, 2, 1)
        self.widen = nn.Conv2d(width, target, 3, padding=1)

    def forward(
        self, stage: Float[Tensor, "N C H W"], deeper: Float[Tensor, "N M G V"] | None, size: tuple[int, int]
    ) -> tuple[Float[Tensor, "N E I J"], Float[Tensor, "N M I J"]]:
        """Return what is compared with the teacher's stage of this size, and what is handed to the stage above."""
        fused = conv2d(stage, self.narrow.weight, self.narrow.bias)
        if self.attend is not None:
            assert deeper is not None
            deeper = F.interpolate(deeper, size=fused.shape[2:], mode="nearest")
            both = torch.cat([fused, deeper], dim=1)
            weights = conv2d(both, self.attend.weight, self.attend.bias).sigmoid()
            fused = weights[:, :1] * fused + weights[:, 1:] * deeper
        if fused.shape[2:] != size:
            fused = F.interpolate(fused, size=size, mode="nearest")
        return conv2d(fused, self.widen.weight, self.widen.bias, padding=1), fused


class ReviewKD(SampleTerm):
    """Sum over stages of the mean `hierarchical_context`: knowledge review (Chen et al. 2021, arXiv:2104.09044).

    From the deepest stage up, each of the student's stages is fused with the deeper ones (see `Fusion`) and compared
    with the teacher's stage. We leave out BatchNorm after the convolutions, whose statistics would differ between one
    process and several, and give these a bias instead; and the pooled embedding that the authors' code adds as one
    more stage (a `Hint` beside this term does that). Places that do not count (``valid/<name>``) count as equal.

    Args:
        layers: the student's name and the teacher's name of each stage, maps, from the first to the deepest; two or
            more.
        width: channels of what is handed on. None: as many as the student's deepest stage has, at most 512 (the
            authors' choice).
    """

    paper = "Chen et al. 2021, arXiv:2104.09044"

    def __init__(self, layers: Mapping[str, str], width: int | None = None) -> None:
        super().__init__()
        self.layers = checked_layers("ReviewKD", layers)
        if len(self.layers) < 2:
            raise InputError(
                "ReviewKD: layers has one entry, and there is nothing to review. Give two or more, from the first to "
                "the deepest, or take Hint."
            )
        self.width = None if width is None else int(checked_number("ReviewKD: width", width, least=1.0))
        self.fusions = nn.ModuleList()

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the fusions."""
        stages = [(read(student, ours, "student"), read(teacher, theirs, "teacher")) for ours, theirs in self.layers]
        for names, (ours, theirs) in zip(self.layers, stages, strict=True):
            if ours.ndim != 4 or theirs.ndim != 4:
                raise InputError(
                    f"ReviewKD: student.{names[0]} is {tuple(ours.shape)} and teacher.{names[1]} is "
                    f"{tuple(theirs.shape)}. Name maps (B, C, H, W) in both, or take Hint."
                )
        width = min(512, stages[-1][0].shape[1]) if self.width is None else self.width
        for place, (ours, theirs) in enumerate(stages, start=1):
            fusion = Fusion(ours.shape[1], width, theirs.shape[1], is_deepest=place == len(stages))
            self.fusions.append(fusion.to(ours.device))

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's sum over stages."""
        layers, there = compared(student, teacher, self.layers)
        values, deeper = [], None
        for (ours, theirs, places), fusion in zip(reversed(layers), reversed(self.fusions), strict=True):
            found, deeper = cast(Fusion, fusion)(ours, deeper, (theirs.shape[2], theirs.shape[3]))
            found = torch.where(over_channels(places, found), found, 0.0)  # the teacher is zero there
            values.append(hierarchical_context(found, theirs))
        return scatter_present(torch.stack(values).sum(0), there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the layers' names."""
        return named_layers(arguments)
