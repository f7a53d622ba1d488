"""The student's embedding follows the teacher's, sample by sample."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import global_mean
from kdmm.losses.precision import full_precision
from kdmm.losses.projection import Projection
from kdmm.losses.term import Term, both_present, checked_choice
from kdmm.outputs import Batch, Outputs, read

__all__ = ["FeatureMatch", "feature_distance"]

Distance = Literal["mse", "cosine"]


@full_precision
def feature_distance(
    student: Float[Tensor, "B D"],
    teacher: Float[Tensor, "B D"],
    valid: Bool[Tensor, "B"],
    distance: Distance = "mse",
) -> Float[Tensor, ""]:
    """Mean distance between the directions of corresponding embeddings, over the valid samples of all ranks.

    Both sides are scaled to unit length, u and v; then::

        mse:    mean_i  1/D |u_i - v_i|²      (mean over elements too, as ``F.mse_loss`` takes it)
        cosine: mean_i  1 - <u_i, v_i>        (so mse = 2/D cosine)

    Args:
        student: embeddings, of any length above 0.
        teacher: embeddings of the same samples, of the same width; they get no gradient.
        valid: which samples count.
        distance: ``mse`` or ``cosine``.

    Returns:
        This rank's share of the loss; 0 where no rank has a valid sample.
    """
    u, v = F.normalize(student[valid], dim=1), F.normalize(teacher.detach()[valid], dim=1)
    squares = (u - v).square()
    # half the squared difference is 1 - cosine for unit vectors, and exact where they are close
    distances = squares.mean(1) if distance == "mse" else squares.sum(1) / 2
    return global_mean(distances, torch.ones_like(distances, dtype=torch.bool))


class FeatureMatch(Term):
    """Feature distillation by `feature_distance`, within a modality or across (``student: audio, teacher: image``).

    Feature distillation (FD) of CLIP-KD (Yang et al. 2024, arXiv:2307.12732), its single most useful term; the
    projection is the regressor of FitNets (Romero et al. 2015, arXiv:1412.6550). As in CLIP-KD vectors are scaled to
    unit length, after the projection, and ``mse`` is a mean over elements: its value shrinks with the width, so its
    weight is large (2000 there, 1000 or so for widths of some hundreds). ``cosine`` does not depend on the width.

    We differ in naming one modality a term, where CLIP-KD sums image and text, and in counting only samples that both
    sides have.

    Args:
        student: what the student's side is called, such as ``image``.
        teacher: what the teacher's side is called.
        distance: ``mse`` or ``cosine``.
        student_width: the student's embedding width, where it differs from the teacher's: then a linear projection of
            the term's own is trained.
        teacher_width: the teacher's embedding width, in the same case.
    """

    def __init__(
        self,
        student: str,
        teacher: str,
        distance: Distance = "mse",
        student_width: int | None = None,
        teacher_width: int | None = None,
    ) -> None:
        super().__init__()
        checked_choice("FeatureMatch: distance", distance, get_args(Distance))
        self.student_name = student
        self.teacher_name = teacher
        self.distance: Distance = distance
        self.projection = Projection("FeatureMatch", student_width, teacher_width)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the mean distance of the student's embeddings from the teacher's."""
        theirs = read(teacher, self.teacher_name, "teacher")
        ours = self.projection(read(student, self.student_name, "student"), theirs)
        valid = both_present(student, self.student_name, teacher, self.teacher_name)
        return feature_distance(ours, theirs, valid, self.distance)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return _named(arguments.get("student")), _named(arguments.get("teacher"))


def _named(name: Any) -> frozenset[str]:
    return frozenset({name} if isinstance(name, str) else ())
