"""Attention-weighted differences of maps: the focal part of FGD."""

from jaxtyping import Float
from torch import Tensor

from kdmm.losses.precision import full_precision

__all__ = ["attention_gap", "focal_error"]


def attentions(
    x: Float[Tensor, "N C H W"], temperature: float
) -> tuple[Float[Tensor, "N 1 H W"], Float[Tensor, "N C 1 1"]]:
    """Return the attention of places and of channels; each has the mean 1.

    ::

        places:    H·W softmax_ij(mean_c |x| / T)
        channels:  C softmax_c(mean_ij |x| / T)
    """
    n, c, h, w = x.shape
    places = (x.abs().mean(1).flatten(1) / temperature).softmax(1) * (h * w)
    channels = (x.abs().mean((2, 3)) / temperature).softmax(1) * c
    return places.view(n, 1, h, w), channels[:, :, None, None]


@full_precision
def focal_error(
    student: Float[Tensor, "N C H W"],
    teacher: Float[Tensor, "N C H W"],
    weights: Float[Tensor, "N H W"],
    temperature: float = 0.5,
) -> Float[Tensor, "N"]:
    """Squared differences weighted by the teacher's attention, their sum, of each sample.

    ::

        sum_cij  weights_ij A_ij A_c (s_cij - t_cij)²

    with A the `attentions` of the teacher to places and channels.

    Args:
        student: maps.
        teacher: the same shape; it gets no gradient.
        weights: of places.
        temperature: of the attention.
    """
    teacher = teacher.detach()
    places, channels = attentions(teacher, temperature)
    return (weights[:, None] * places * channels * (student - teacher).square()).sum((1, 2, 3))


@full_precision
def attention_gap(
    student: Float[Tensor, "N C H W"], teacher: Float[Tensor, "N C H W"], temperature: float = 0.5
) -> Float[Tensor, "N"]:
    """Absolute differences of the two models' `attentions`, the sum over places and channels, of each sample.

    Args:
        student: maps.
        teacher: the same shape; it gets no gradient.
        temperature: of the attention.
    """
    pairs = zip(attentions(student, temperature), attentions(teacher.detach(), temperature), strict=True)
    first, second = ((ours - theirs).abs().sum((1, 2, 3)) for ours, theirs in pairs)
    return first + second
