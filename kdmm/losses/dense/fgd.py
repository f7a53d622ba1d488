"""Maps of a detector follow the teacher's, objects and background apart: FGD."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.losses.adapters import Adapter, Fit
from kdmm.losses.dense.box_weights import box_weights, boxes_of, with_detections
from kdmm.losses.dense.focal import attention_gap, focal_error
from kdmm.losses.dense.global_context import GlobalContext
from kdmm.losses.features.places import compared
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["FGD"]


@full_precision
def squared_distance(student: Float[Tensor, "N C H W"], teacher: Float[Tensor, "N C H W"]) -> Float[Tensor, "N"]:
    """Return the sum of squared differences of each sample."""
    return (student - teacher).square().sum((1, 2, 3))


class FGD(SampleTerm):
    """Focal and global distillation of detectors (Yang et al. 2022, arXiv:2111.11837).

    The mean over samples of::

        focal_error(s, t, foreground · w_in + background · w_out)      differences, weighted by the teacher's attention
        + attention · attention_gap(s, t)                              the attention itself
        + relation · |R_s(s) - R_t(t)|²                                relations between places

    with the weights of places of `box_weights`, which treat objects and background apart, and a `GlobalContext` of each
    model; both are parameters of this term and are learned. Name one level of a pyramid a term. The parts are sums over
    the elements of a sample, as in the paper, so its weights hold: the defaults are the authors' for RetinaNet; for
    other detectors theirs differ by factors of up to twenty.

    We differ in the places of a box, those that it touches, where the authors' code adds a further row and column, and
    in places that do not count (``valid/<name>``), which count as equal. In the paper every picture is marked. One that
    is not counts as one without objects, unless ``least_score`` is given: then the boxes that the teacher finds in it
    (its ``detections`` and ``valid/detections``) stand for those that nobody drew.

    Args:
        student: what the student's map is called.
        teacher: what the teacher's is called.
        foreground: weight of the differences inside boxes.
        background: weight of those outside.
        attention: weight of the attention's differences.
        relation: weight of the relations.
        temperature: divides activations in the attention; smaller is sharper.
        least_score: of the teacher's detections that are the boxes of a picture that is not marked, in [0, 1]; None:
            it has none.
        adapter: maps the student's map to the teacher's shape; None: `Fit`.
    """

    paper = "Yang et al. 2022, arXiv:2111.11837"

    def __init__(
        self,
        student: str,
        teacher: str,
        foreground: float | int = 1e-3,
        background: float | int = 5e-4,
        attention: float | int = 5e-4,
        relation: float | int = 5e-6,
        temperature: float | int = 0.5,
        least_score: float | int | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__()
        self.layers = ((student, teacher),)
        self.foreground = checked_number("FGD: foreground", foreground, least=0.0)
        self.background = checked_number("FGD: background", background, least=0.0)
        self.attention = checked_number("FGD: attention", attention, least=0.0)
        self.relation = checked_number("FGD: relation", relation, least=0.0)
        self.temperature = checked_number("FGD: temperature", temperature, above=0.0)
        if least_score is not None:
            checked_number("FGD: least_score", least_score, least=0.0, most=1.0)
        self.least_score = least_score
        self.adapter = Fit() if adapter is None else adapter

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapter and the two blocks."""
        ours, theirs = self.layers[0]
        target = read(teacher, theirs, "teacher")
        if target.ndim != 4:
            raise InputError(f"FGD: teacher.{theirs} is {tuple(target.shape)}. Name maps (B, C, H, W) of a detector.")
        self.adapter.build(read(student, ours, "student"), target)
        self.student_context = GlobalContext(target.shape[1]).to(target.device)
        self.teacher_context = GlobalContext(target.shape[1]).to(target.device)

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's sum of the parts."""
        ((ours, theirs, places),), there = compared(student, teacher, self.layers)
        ours = torch.where(places[:, None], self.adapter(ours, theirs), 0.0)  # the teacher is zero there
        boxes, image_size = boxes_of(batch, len(there))
        if self.least_score is not None:
            boxes = with_detections(boxes, batch, teacher, self.least_score)
        inside, outside = box_weights(
            [boxes[i] for i in there.nonzero().flatten().tolist()], image_size, (theirs.shape[2], theirs.shape[3])
        )
        weights = self.foreground * inside + self.background * outside
        weights = weights.to(ours.device, torch.promote_types(ours.dtype, torch.float32))
        relations = squared_distance(self.student_context(ours), self.teacher_context(theirs))
        values = (
            focal_error(ours, theirs, weights, self.temperature)
            + self.attention * attention_gap(ours, theirs, self.temperature)
            + self.relation * relations
        )
        return scatter_present(values, there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given, and the teacher's detections where they are asked for."""
        found = named() if arguments.get("least_score") is None else named("detections")
        return named(arguments.get("student")), named(arguments.get("teacher")) | found
