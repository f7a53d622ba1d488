"""Pairs of samples that are similar to the teacher become similar to the student."""

from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import gather, row_counts
from kdmm.losses.precision import full_precision
from kdmm.losses.relations.finite import unit
from kdmm.losses.relations.relation import Relation

__all__ = ["SimilarityPreserving", "similarity_difference"]


@full_precision
def similarity_difference(student: Float[Tensor, "B D"], teacher: Float[Tensor, "B E"]) -> Float[Tensor, "B"]:
    """Mean squared difference of each row of the row-normalized Gram matrices.

    With s_i and t_i the vectors of all N samples on all ranks::

        g_i = (<s_i, s_1>, ..., <s_i, s_N>) / |...|      h_i  the same of t      value_i = 1/N |g_i - h_i|²

    whose mean over samples is 1/N² |G - H|_F² of the paper. It lies within [0, 4/N].

    Args:
        student: one vector a sample, of any length.
        teacher: the teacher's of the same samples; they get no gradient.

    Returns:
        The value of each sample here.
    """
    counts = row_counts(student)
    ours = unit(student @ gather(student, True, counts).T)
    theirs = unit(teacher.detach() @ gather(teacher, False, counts).T)
    return (ours - theirs).square().sum(1) / max(sum(counts), 1)


class SimilarityPreserving(Relation):
    """Mean of `similarity_difference`.

    Similarity-preserving knowledge distillation (SP) of Tung & Mori 2019, arXiv:1907.09682, who take it on activation
    maps and weigh it with 3000. Rotating all vectors of a side, or scaling them alike, changes nothing. We differ in
    nothing but the batch, which is that of all ranks.

    Args:
        student: what the student's side is called, such as ``image`` or a tap.
        teacher: what the teacher's side is called.
    """

    paper = "Tung & Mori 2019, arXiv:1907.09682"

    def values(self, student: Float[Tensor, "P D"], teacher: Float[Tensor, "P E"]) -> Float[Tensor, "P"]:
        """Return the `similarity_difference` of each sample."""
        return similarity_difference(student, teacher)
