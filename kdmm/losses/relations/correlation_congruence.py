"""The kernel matrix of a batch follows the teacher's."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import gather, row_counts, rows_here
from kdmm.errors import InputError
from kdmm.losses.precision import full_precision
from kdmm.losses.relations.finite import unit
from kdmm.losses.relations.relation import Relation
from kdmm.losses.term import checked_choice, checked_number

__all__ = ["CorrelationCongruence", "correlation_difference"]

Kernel = Literal["gaussian", "bilinear"]


@full_precision
def correlation_difference(
    student: Float[Tensor, "B D"],
    teacher: Float[Tensor, "B E"],
    kernel: Kernel = "gaussian",
    gamma: float = 0.4,
    order: int = 2,
) -> Float[Tensor, "B"]:
    """Mean squared difference of each row of the kernel matrices.

    Over the N samples of all ranks, on vectors scaled to unit length, u of the student and v of the teacher::

        value_i = 1/N sum_j (k(u_i, u_j) - k(v_i, v_j))²
        bilinear: k(a, b) = <a, b>
        gaussian: k(a, b) = exp(-2 gamma) sum_{p=0..order} (2 gamma)^p / p! <a, b>^p

    The latter is the Taylor expansion of exp(-gamma |a - b|²) for unit vectors; the mean over samples is the paper's
    1/N² |K_S - K_T|².

    Args:
        student: one vector a sample, of any length.
        teacher: the teacher's of the same samples; they get no gradient.
        kernel: ``gaussian`` or ``bilinear``.
        gamma: of the Gaussian kernel.
        order: the last power of its expansion.

    Returns:
        The value of each sample here.
    """
    counts = row_counts(student)
    powers = _expansion(gamma, order) if kernel == "gaussian" else [0.0, 1.0]
    ours = _kernel(gather(student, True, counts), powers, counts)
    theirs = _kernel(gather(teacher, False, counts), powers, counts)
    return (ours - theirs).square().sum(1) / max(sum(counts), 1)


def _expansion(gamma: float, order: int) -> list[float]:
    return [math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) for p in range(order + 1)]


def _kernel(everyone: Float[Tensor, "N D"], powers: list[float], counts: tuple[int, ...]) -> Float[Tensor, "B N"]:
    """Return the polynomial, its coefficients from power 0 on, of the cosines of the rows here with all."""
    everyone = unit(everyone)
    cosines = everyone[rows_here(counts)] @ everyone.T
    value = torch.full_like(cosines, powers[-1])
    for factor in reversed(powers[:-1]):  # Horner's rule
        value = value * cosines + factor
    return value


class CorrelationCongruence(Relation):
    """Mean of `correlation_difference`.

    Correlation congruence (CCKD) of Peng et al. 2019, arXiv:1904.01802: by default their Gaussian kernel with
    gamma 0.4, expanded to the second order. Rotating all vectors of a side, or changing the length of any, changes
    nothing. We differ in scaling vectors to unit length for the bilinear kernel too, so that models of other scales can
    be compared; and need no embedding layers, as the kernel matrices have no width.

    Args:
        student: what the student's side is called, such as ``image`` or a tap.
        teacher: what the teacher's side is called.
        kernel: ``gaussian`` or ``bilinear``.
        gamma: of the Gaussian kernel.
        order: the last power of its expansion.
    """

    paper = "Peng et al. 2019, arXiv:1904.01802"

    def __init__(
        self,
        student: str,
        teacher: str,
        kernel: Kernel = "gaussian",
        gamma: float | int = 0.4,
        order: int = 2,
    ) -> None:
        super().__init__(student, teacher)
        checked_choice("CorrelationCongruence: kernel", kernel, get_args(Kernel))
        if order < 1:
            raise InputError(f"CorrelationCongruence: order is {order}. Give 1 or more: power 0 alone is a constant.")
        self.kernel: Kernel = kernel
        self.gamma = checked_number("CorrelationCongruence: gamma", gamma, above=0.0)
        self.order = order

    def values(self, student: Float[Tensor, "P D"], teacher: Float[Tensor, "P E"]) -> Float[Tensor, "P"]:
        """Return the `correlation_difference` of each sample."""
        return correlation_difference(student, teacher, self.kernel, self.gamma, self.order)
