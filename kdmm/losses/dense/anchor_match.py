"""Which of a teacher's anchors stands for each of a student's."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

from kdmm.losses.precision import full_precision

__all__ = ["AnchorMatch", "overlaps"]

ROWS = 1024  # whose overlaps are in memory at once: 80 MB beside 20,000 anchors of the teacher

overlaps = full_precision(box_iou)


class AnchorMatch:
    """Matches anchors, and keeps the last match: a model's anchors are the same for all pictures of one size."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def __call__(
        self, student: Float[Tensor, "A 4"], teacher: Float[Tensor, "M 4"]
    ) -> tuple[Int64[Tensor, "A"], Bool[Tensor, "A"]]:
        """Return for each of the student's anchors the teacher's with the highest intersection over union.

        Args:
            student: (x1, y1, x2, y2) in pixels.
            teacher: in the same pixels; one without an area is matched with none.

        Returns:
            Its number, and whether it touches the student's at all. Of equal sets each anchor is matched with itself.
        """
        if self._last is None or not (torch.equal(self._last[0], student) and torch.equal(self._last[1], teacher)):
            self._last = (student.clone(), teacher.clone(), *_matched(student, teacher))
        return self._last[2], self._last[3]


def _matched(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if torch.equal(student, teacher):
        return torch.arange(len(student), device=student.device), (student[:, 2:] > student[:, :2]).all(1)
    if not len(teacher):
        nothing = torch.zeros(len(student), device=student.device)
        return nothing.long(), nothing.bool()
    best = [overlaps(part, teacher).max(1) for part in torch.split(student, ROWS)]
    return torch.cat([each.indices for each in best]), torch.cat([each.values for each in best]) > 0
