"""The geometry of a batch, up to rotation and scale, follows the teacher's."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import gather, row_counts, rows_here, world_size
from kdmm.losses.precision import full_precision
from kdmm.losses.relations.finite import root
from kdmm.losses.relations.relation import flat_rows
from kdmm.losses.term import Term, named
from kdmm.outputs import Batch, Outputs

__all__ = ["CKA", "cka_distance"]


@full_precision
def cka_distance(student: Float[Tensor, "B D"], teacher: Float[Tensor, "B E"]) -> Float[Tensor, ""]:
    """1 - linear CKA, in [0, 1].

    With X and Y the vectors of the N samples of all ranks, each column less its mean::

        loss = 1 - <X Xᵀ, Y Yᵀ> / (|X Xᵀ| |Y Yᵀ|)      <., .> and |.| of Frobenius

    It is computed from the N x N Gram matrices, of which each rank holds its rows, whatever the widths.

    Args:
        student: one vector a sample.
        teacher: the teacher's of the same samples; they get no gradient.

    Returns:
        The loss, the same on every rank; 0 with fewer than two samples, 1 where all vectors of a side are equal.
    """
    counts = row_counts(student)
    ours, theirs = _gram(gather(student, True, counts), counts), _gram(gather(teacher, False, counts), counts)
    sums = torch.stack([(ours * theirs).sum(), ours.square().sum(), theirs.square().sum()])
    both, student_square, teacher_square = gather(sums[None], True, (1,) * world_size()).sum(0)
    lengths = root(student_square) * root(teacher_square)
    distance: Tensor = 1 - both / torch.where(lengths > 0, lengths, 1.0)
    return distance * float(sum(counts) > 1)


def _gram(everyone: Float[Tensor, "N D"], counts: tuple[int, ...]) -> Float[Tensor, "B N"]:
    """Return the inner products of the rows here with all, each column less its mean, the whole of length sqrt(N)."""
    everyone = everyone - everyone.mean(0)
    # Of scale CKA does not depend, so this needs no gradient; without it squares of squares overflow float32.
    scale = root(everyone.detach().square().sum() / max(len(everyone), 1))
    everyone = everyone / torch.where(scale > 0, scale, 1.0)
    return everyone[rows_here(counts)] @ everyone.T


class CKA(Term):
    """`cka_distance` as a loss.

    Linear centered kernel alignment of Kornblith et al. 2019, arXiv:1905.00414, who propose it to compare
    representations, not to train them. Rotating or shifting all vectors of a side, or scaling them alike, changes
    nothing; unlike correlations it does depend on the lengths of directions. With fewer samples than dimensions even
    unrelated features have a high CKA (their HSIC is the biased estimate, as here): take large batches, or narrow
    layers.

    Args:
        student: what the student's side is called, such as ``image`` or a tap; flattened to one vector a sample.
        teacher: what the teacher's side is called.
    """

    paper = "Kornblith et al. 2019, arXiv:1905.00414"

    def __init__(self, student: str, teacher: str) -> None:
        super().__init__()
        self.student_name = student
        self.teacher_name = teacher

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the distance over the samples that both sides have."""
        ours, theirs, _ = flat_rows(student, self.student_name, teacher, self.teacher_name)
        return cka_distance(ours, theirs)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))
