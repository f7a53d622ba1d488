"""What the losses between samples share: which samples count, and their rows on all ranks."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import rows_here
from kdmm.losses.term import SampleTerm, both_present, named
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["Relation", "flat_rows", "itself"]


class Relation(SampleTerm):
    """How each sample stands to all others, on all ranks, follows the teacher; the mean over samples.

    Whatever one sample has, a vector, tokens or maps, is flattened to one vector, so the student's and the teacher's
    widths may differ. Samples that either side lacks are not compared with.

    Args:
        student: what the student's side is called, such as ``image`` or a tap.
        teacher: what the teacher's side is called.
    """

    def __init__(self, student: str, teacher: str) -> None:
        super().__init__()
        self.student_name = student
        self.teacher_name = teacher

    @abstractmethod
    def values(self, student: Float[Tensor, "P D"], teacher: Float[Tensor, "P E"]) -> Float[Tensor, "P"]:
        """Return the value of each of the P samples that both sides have here."""

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return how far each sample's relations are from the teacher's."""
        ours, theirs, there = flat_rows(student, self.student_name, teacher, self.teacher_name)
        return scatter_present(self.values(ours, theirs), there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))


def flat_rows(
    student: Outputs, student_name: str, teacher: Outputs, teacher_name: str
) -> tuple[Float[Tensor, "P D"], Float[Tensor, "P E"], Bool[Tensor, "B"]]:
    """Return the P rows that both sides have, one vector each, and which of the B samples they are."""
    ours, theirs = read(student, student_name, "student"), read(teacher, teacher_name, "teacher")
    there = both_present(student, student_name, teacher, teacher_name)
    return ours[there].flatten(1), theirs[there].flatten(1), there


def itself(counts: tuple[int, ...], device: torch.device) -> Bool[Tensor, "B N"]:
    """Return where, among the columns of all ranks, each row here meets itself."""
    everyone = torch.arange(sum(counts), device=device)
    return everyone[rows_here(counts), None] == everyone
