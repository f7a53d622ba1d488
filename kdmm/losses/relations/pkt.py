"""Who is near whom, as a probability distribution over the other samples, follows the teacher."""

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import gather, row_counts, rows_here
from kdmm.losses.pairs.affinity import row_divergence
from kdmm.losses.precision import full_precision
from kdmm.losses.relations.finite import unit
from kdmm.losses.relations.relation import Relation, itself

__all__ = ["PKT", "pkt_divergence"]

LEAST_KERNEL = 1e-7  # of exactly opposite vectors, whose kernel is 0 and its logarithm not finite; as in their code
NOT_A_NEIGHBOUR = -1e4  # its exponential is 0 in float32 and float64, without the NaN of infinities


@full_precision
def pkt_divergence(student: Float[Tensor, "B D"], teacher: Float[Tensor, "B E"]) -> Float[Tensor, "B"]:
    """KL(teacher || student) between the distributions of each sample's neighbours, in nats.

    Over the N samples of all ranks, with the cosine kernel::

        K(a, b) = (1 + cos(a, b)) / 2      p_j|i = K(t_i, t_j) / sum_{k != i} K(t_i, t_k)      q_j|i  the same of s
        value_i = sum_{j != i} p_j|i log(p_j|i / q_j|i)

    Args:
        student: one vector a sample, of any length.
        teacher: the teacher's of the same samples; they get no gradient.

    Returns:
        The value of each sample here; 0 for one that has no other.
    """
    counts = row_counts(student)
    ours = _log_kernel(gather(student, True, counts), counts)
    return row_divergence(ours, _log_kernel(gather(teacher, False, counts), counts))


def _log_kernel(everyone: Float[Tensor, "N D"], counts: tuple[int, ...]) -> Float[Tensor, "B N"]:
    """Return the kernel's logarithm: its softmax over a row is the distribution of neighbours."""
    everyone = unit(everyone)
    kernel = (1 + everyone[rows_here(counts)] @ everyone.T) / 2
    return torch.where(itself(counts, everyone.device), NOT_A_NEIGHBOUR, kernel.clamp(min=LEAST_KERNEL).log())


class PKT(Relation):
    """Mean of `pkt_divergence`.

    Probabilistic knowledge transfer (Passalis & Tefas 2018, arXiv:1803.10837) with its cosine kernel, which has no
    bandwidth to tune. Rotating all vectors of a side, or changing the length of any, changes nothing. The paper sums
    over samples; we take the mean. Their code also counts each sample as its own neighbour, and divides once more by
    the number of samples; the paper and we do neither.

    Args:
        student: what the student's side is called, such as ``image`` or a tap.
        teacher: what the teacher's side is called.
    """

    paper = "Passalis & Tefas 2018, arXiv:1803.10837"

    def values(self, student: Float[Tensor, "P D"], teacher: Float[Tensor, "P E"]) -> Float[Tensor, "P"]:
        """Return the `pkt_divergence` of each sample."""
        return pkt_divergence(student, teacher)
