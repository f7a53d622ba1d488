"""The student's last map, projected, takes the place of the teacher's: SimKD."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.losses.adapters import Adapter, conv2d
from kdmm.losses.features.hint import hint_error
from kdmm.losses.features.places import by_sample, compared
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, read

__all__ = ["Projector", "SimKD"]

pooled = full_precision(F.adaptive_avg_pool2d)


class Projector(Adapter):
    """Three convolutions (1 x 1, 3 x 3, 1 x 1) from a student's map to the channels and size of a teacher's.

    The projector of SimKD (Chen et al. 2022, arXiv:2203.14001), whose middle has a part of the teacher's channels. A
    map of another size is pooled first, to the mean of what falls on each place. We leave out BatchNorm, whose
    statistics would differ between one process and several, and the ReLU at the end, for the last features of many
    teachers are negative too.

    Args:
        reduction: what the teacher's channels are divided by in the middle.
    """

    def __init__(self, reduction: int = 2) -> None:
        super().__init__(always=True)
        self.reduction = int(checked_number("SimKD: reduction", reduction, least=1.0))

    def make(self, student: Tensor, teacher: Tensor) -> None:
        """Make the convolutions."""
        if student.ndim != 4 or teacher.ndim != 4:
            raise self.refuse(student, teacher, "(B, C, H, W) to (B, E, I, J)")
        channels = teacher.shape[1]
        middle = max(1, channels // self.reduction)
        self.narrow = nn.Conv2d(student.shape[1], middle, 1)
        self.mix = nn.Conv2d(middle, middle, 3, padding=1)
        self.widen = nn.Conv2d(middle, channels, 1)

    def mapped(self, student: Float[Tensor, "B C H W"], teacher: Float[Tensor, "B E I J"]) -> Float[Tensor, "B E I J"]:
        """Return the student's map in the teacher's shape."""
        size = (teacher.shape[2], teacher.shape[3])
        if student.shape[2:] != size:
            student = pooled(student, size)
        x = F.relu(conv2d(student, self.narrow.weight, self.narrow.bias))
        x = F.relu(conv2d(x, self.mix.weight, self.mix.bias, padding=1))
        return conv2d(x, self.widen.weight, self.widen.bias)


class SimKD(SampleTerm):
    """Mean squared difference of the student's projected map and the teacher's (Chen et al. 2022, arXiv:2203.14001).

    Both maps are the last before pooling. In the paper this is the only loss, and the student is used with the
    projector and the teacher's own classifier behind it, so no class scores are learned. What a model is made of is
    not a loss's business: this is the feature term with its projector, ``term.projector``, which the deployed student
    must hold together with the teacher's classifier. We differ in the projector (see `Projector`), and in resizing the
    student's map only, where the paper pools the larger of the two.

    Args:
        student: what the student's map is called.
        teacher: what the teacher's is called.
        reduction: what the teacher's channels are divided by in the middle of the projector.
    """

    paper = "Chen et al. 2022, arXiv:2203.14001"

    def __init__(self, student: str, teacher: str, reduction: int = 2) -> None:
        super().__init__()
        self.layers = ((student, teacher),)
        self.projector = Projector(reduction)

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the projector."""
        ours, theirs = self.layers[0]
        self.projector.build(read(student, ours, "student"), read(teacher, theirs, "teacher"))

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's part of the mean over places."""
        ((ours, theirs, places),), there = compared(student, teacher, self.layers)
        return by_sample(hint_error(self.projector(ours, theirs), theirs), places, there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))
