"""The student's embedding follows the teacher's, sample by sample."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.losses.adapters import Adapter, Fit
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, both_present, checked_choice, named
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["FeatureMatch", "feature_distance"]

Distance = Literal["mse", "cosine"]


@full_precision
def feature_distance(
    student: Float[Tensor, "B D"], teacher: Float[Tensor, "B D"], distance: Distance = "mse"
) -> Float[Tensor, "B"]:
    """Distance between the directions of corresponding embeddings.

    Both sides are scaled to unit length, u and v; then, of each sample::

        mse:    1/D |u - v|²      (a mean over elements, as ``F.mse_loss`` takes it)
        cosine: 1 - <u, v>        (so mse = 2/D cosine)

    Args:
        student: embeddings, of any length above 0.
        teacher: embeddings of the same samples, of the same width; they get no gradient.
        distance: ``mse`` or ``cosine``.
    """
    u, v = F.normalize(student, dim=1), F.normalize(teacher.detach(), dim=1)
    squares = (u - v).square()
    # half the squared difference is 1 - cosine for unit vectors, and exact where they are close
    return squares.mean(1) if distance == "mse" else squares.sum(1) / 2


class FeatureMatch(SampleTerm):
    """Mean `feature_distance` of embeddings, within a modality or across (``student: audio, teacher: image``).

    Feature distillation (FD) of CLIP-KD (Yang et al. 2024, arXiv:2307.12732), its single most useful term; the
    adapter is the regressor of FitNets (Romero et al. 2015, arXiv:1412.6550). As in CLIP-KD vectors are scaled to
    unit length, after the adapter, and ``mse`` is a mean over elements: its value shrinks with the width, so its
    weight is large (2000 there, 1000 or so for widths of some hundreds). ``cosine`` does not depend on the width.

    We differ in naming one modality a term, where CLIP-KD sums image and text, and in counting only samples that both
    sides have.

    Args:
        student: what the student's side is called, such as ``image``.
        teacher: what the teacher's side is called.
        distance: ``mse`` or ``cosine``.
        adapter: maps the student's embedding to the teacher's width; None: a linear map where they differ.
    """

    paper = "Yang et al. 2024, arXiv:2307.12732"

    def __init__(self, student: str, teacher: str, distance: Distance = "mse", adapter: Adapter | None = None) -> None:
        super().__init__()
        checked_choice("FeatureMatch: distance", distance, get_args(Distance))
        self.student_name = student
        self.teacher_name = teacher
        self.distance: Distance = distance
        self.adapter = Fit() if adapter is None else adapter

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapter."""
        theirs = read(teacher, self.teacher_name, "teacher")
        if theirs.ndim != 2:
            raise InputError(
                f"FeatureMatch: teacher.{self.teacher_name} has the shape {tuple(theirs.shape)}, and one vector a "
                "sample is compared. For maps and tokens take Hint."
            )
        self.adapter.build(read(student, self.student_name, "student"), theirs)

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the distance of each of the student's embeddings from the teacher's."""
        valid = both_present(student, self.student_name, teacher, self.teacher_name)
        ours, theirs = read(student, self.student_name, "student"), read(teacher, self.teacher_name, "teacher")
        theirs = theirs[valid]  # the rows that are there: the others may hold anything
        distances = feature_distance(self.adapter(ours[valid], theirs), theirs, self.distance)
        return scatter_present(distances, valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))
