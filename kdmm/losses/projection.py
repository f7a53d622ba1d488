"""From the student's width to the teacher's, where they differ."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.losses.precision import full_precision

__all__ = ["Projection"]

linear = full_precision(F.linear)


class Projection(nn.Module):
    """A linear map from the student's space to the teacher's where both widths are given and differ; else nothing.

    Args:
        term: the term's name, for messages.
        student_width: D, of the student's embedding.
        teacher_width: E, of the teacher's.
    """

    def __init__(self, term: str, student_width: int | None, teacher_width: int | None) -> None:
        super().__init__()
        if (student_width is None) != (teacher_width is None):
            raise InputError(
                f"{term}: student_width is {student_width} and teacher_width is {teacher_width}. "
                "Give both, or neither where the widths are equal."
            )
        for setting, width in (("student_width", student_width), ("teacher_width", teacher_width)):
            if width is not None and width < 1:
                raise InputError(f"{term}: {setting} is {width}. Give the embedding's width, 1 or more.")
        self.term = term
        self.widths = (student_width, teacher_width)
        self.map: nn.Linear | None = None
        if student_width is not None and teacher_width is not None and student_width != teacher_width:
            self.map = nn.Linear(student_width, teacher_width)

    def forward(self, student: Float[Tensor, "B D"], teacher: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        """Return the student's embedding in the teacher's width, not normalized, in float32 or better if mapped.

        Raises:
            InputError: the embeddings' widths are not those given, or none were given and they differ.
        """
        found = (student.shape[1], teacher.shape[1])
        fits = found[0] == found[1] if self.widths == (None, None) else found == self.widths
        if not fits:
            raise InputError(
                f"{self.term}: the student's embedding is {found[0]} wide and the teacher's {found[1]}, but "
                f"student_width is {self.widths[0]} and teacher_width is {self.widths[1]}. "
                f"Set student_width: {found[0]} and teacher_width: {found[1]}."
            )
        return student if self.map is None else linear(student, self.map.weight, self.map.bias)
