"""The class scores and boxes of a dense detector's anchors follow the teacher's: BCKD."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import all_reduce_sum
from kdmm.errors import InputError
from kdmm.losses.dense.anchor_match import AnchorMatch
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, both_present, checked_number, named
from kdmm.outputs import Batch, Outputs, read, scatter_present, valid

__all__ = ["AnchorKD", "box_distance", "score_divergence"]


@full_precision
def score_divergence(student: Float[Tensor, "N A C"], teacher: Float[Tensor, "N A C"]) -> Float[Tensor, "N A"]:
    """Return the binary cross-entropies of all classes, each weighted by how far the scores are apart.

    With scores p = sigmoid(logits)::

        sum_c |p_t - p_s| · BCE(p_s, p_t)

    Args:
        student: logits.
        teacher: logits; they get no gradient.
    """
    target = teacher.detach().sigmoid()
    apart = (target - student.sigmoid()).abs()
    return (apart * F.binary_cross_entropy_with_logits(student, target, reduction="none")).sum(2)


@full_precision
def box_distance(student: Float[Tensor, "*S 4"], teacher: Float[Tensor, "*S 4"]) -> Float[Tensor, "*S"]:
    """Return 1 less the generalized intersection over union (Rezatofighi et al. 2019, arXiv:1902.09630).

    Args:
        student: (x1, y1, x2, y2).
        teacher: of the same places; they get no gradient.
    """
    theirs = teacher.detach()
    corner, opposite = (
        torch.maximum(student[..., :2], theirs[..., :2]),
        torch.minimum(student[..., 2:], theirs[..., 2:]),
    )
    shared = (opposite - corner).clamp(min=0).prod(-1)
    first, last = torch.minimum(student[..., :2], theirs[..., :2]), torch.maximum(student[..., 2:], theirs[..., 2:])
    hull = (last - first).prod(-1)
    union = _area(student) + _area(theirs) - shared
    return 1 - _quotient(shared, union) + _quotient(hull - union, hull)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def _quotient(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and 0 where both are 0."""
    return torch.where(whole > 0, part, 0.0) / torch.where(whole > 0, whole, 1.0)


@full_precision
def largest_gap(student: Float[Tensor, "N A C"], teacher: Float[Tensor, "N A C"]) -> Float[Tensor, "N A"]:
    """Return how far the scores of an anchor are apart in the class where they are farthest, without gradient."""
    return (student.detach().sigmoid() - teacher.detach().sigmoid()).abs().amax(2)


@full_precision
def highest_score(teacher: Float[Tensor, "N A C"]) -> Float[Tensor, "N A"]:
    """Return the score of an anchor's likeliest class, without gradient."""
    return teacher.detach().sigmoid().amax(2)


class AnchorKD(SampleTerm):
    """BCKD, binary classification and box distillation of dense detectors (Yang et al. 2023, arXiv:2308.14286).

    Over the anchors i of all pictures, marked or not, with scores p and boxes b::

        1/M · sum_i [ sum_c |p_t - p_s| BCE(p_s, p_t)  +  box_weight · max_c |p_t - p_s| · (1 - GIoU(b_s, b_t)) ]

    with M = sum_i max_c p_t, at least 1. The weight of a box has no gradient. Where the two models have the same
    anchors, the teacher's i is the student's; else it is the one whose anchor has the highest intersection over union
    with the student's, and a student's anchor that touches none does not count. Models may so differ in the size of
    their input, in strides and in anchors, and FCOS may learn of RetinaNet.

    We differ in M, which in the paper is the number of anchors that the labels assign to objects: pictures without
    labels have no such number, and the sum of the teacher's highest scores is its expectation (as in Zhang et al. 2021,
    arXiv:2111.00674, and of Dense Teacher, arXiv:2207.02541, on unlabelled pictures); and in the match, where the paper
    has equal anchors. The authors weight the boxes by 4.

    Args:
        classes: what both models call the logits (B, A, C) of one sigmoid a class; A may differ.
        boxes: what they call the boxes (B, A, 4), (x1, y1, x2, y2) in the same pixels; ``None``: scores alone.
        anchors: what they call the anchors (B, A, 4); ``None``: the two models' are the same, in the same order.
        box_weight: of the boxes.
    """

    paper = "Yang et al. 2023, arXiv:2308.14286"

    def __init__(
        self,
        classes: str = "class_logits",
        boxes: str | None = "anchor_boxes",
        anchors: str | None = "anchors",
        box_weight: float | int = 4.0,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.boxes = boxes
        self.anchors = anchors
        self.box_weight = checked_number("AnchorKD: box_weight", box_weight, least=0.0)
        self.match = AnchorMatch()

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's part of the sum over anchors, such that the mean over samples is the loss."""
        self._check(read(student, self.classes, "student"), read(teacher, self.classes, "teacher"))
        there = both_present(student, self.classes, teacher, self.classes)
        counted, number = self._matched(student, teacher, there)

        def mine(name: str) -> Tensor:
            return torch.where(counted[..., None], read(student, name, "student")[there], 0.0)

        def its(name: str) -> Tensor:
            rows = read(teacher, name, "teacher")[there].detach()
            return torch.where(counted[..., None], rows.gather(1, number[..., None].expand(-1, -1, rows.shape[2])), 0.0)

        ours, theirs = mine(self.classes), its(self.classes)
        values = torch.where(counted, score_divergence(ours, theirs), 0.0).sum(1)
        if self.boxes is not None:
            apart = torch.where(counted, largest_gap(ours, theirs), 0.0)
            values = values + self.box_weight * (apart * box_distance(mine(self.boxes), its(self.boxes))).sum(1)
        mass = torch.where(counted, highest_score(theirs), 0.0).sum()
        samples, mass = all_reduce_sum(torch.stack([there.sum().to(mass.dtype), mass]))
        return scatter_present(values * samples / mass.clamp(min=1), there), there

    def _matched(self, student: Outputs, teacher: Outputs, there: Tensor) -> tuple[Tensor, Tensor]:
        """Return which of the student's anchors count (N, A), and the number of the teacher's for each."""
        ours, theirs = valid(student, self.classes)[there], valid(teacher, self.classes)[there]
        if self.anchors is None:
            return ours & theirs, torch.arange(ours.shape[1], device=ours.device).expand(ours.shape)
        mine, its = read(student, self.anchors, "student")[there], read(teacher, self.anchors, "teacher")[there]
        its = torch.where(theirs[..., None], its, 0.0)  # without an area they are matched with none
        matches = [self.match(*pair) for pair in zip(mine.detach(), its.detach(), strict=True)]
        if not matches:
            return ours, torch.zeros(ours.shape, dtype=torch.long, device=ours.device)
        return ours & torch.stack([hit for _, hit in matches]), torch.stack([number for number, _ in matches])

    def _check(self, ours: Tensor, theirs: Tensor) -> None:
        if ours.ndim != 3 or theirs.ndim != 3 or ours.shape[2] != theirs.shape[2]:
            raise InputError(
                f"AnchorKD: student.{self.classes} is {tuple(ours.shape)} and teacher.{self.classes} "
                f"{tuple(theirs.shape)}. Name logits (B, A, C) of as many classes, such as a dense detector's."
            )
        if self.anchors is None and ours.shape[1] != theirs.shape[1]:
            raise InputError(
                f"AnchorKD: anchors is null, but the student has {ours.shape[1]} anchors and the teacher "
                f"{theirs.shape[1]}. Name what both models call theirs, so that they are matched."
            )

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the names given, the same of both models."""
        names = named(
            arguments.get("classes", "class_logits"),
            arguments.get("boxes", "anchor_boxes"),
            arguments.get("anchors", "anchors"),
        )
        return names, names
