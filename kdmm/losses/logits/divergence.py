"""How far two softmaxes are from each other."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kdmm.losses.precision import full_precision

__all__ = ["Divergence", "softmax_divergence"]

Divergence = Literal["forward", "reverse", "jensen_shannon"]


@full_precision
def softmax_divergence(
    student: Float[Tensor, "N C"],
    teacher: Float[Tensor, "N C"],
    divergence: Divergence = "forward",
    temperature: float | int = 1.0,
) -> Float[Tensor, "N"]:
    """Divergence of the student's softened softmax from the teacher's, of each row, in nats times temperature squared.

    With p = softmax(teacher / T) and q = softmax(student / T), over the classes::

        forward:        T² sum p (log p - log q)                            KL(p || q): the student covers the teacher
        reverse:        T² sum q (log q - log p)                            KL(q || p): the student seeks a mode
        jensen_shannon: T² 1/2 (KL(p || m) + KL(q || m)), m = (p + q) / 2   symmetric, at most T² log 2

    T² keeps gradients comparable over temperatures (Hinton et al. 2015, arXiv:1503.02531). All are 0 where p = q.

    A class whose score is -inf has probability 0, and 0 log 0 is 0; so scores that are masked by -inf in both models
    leave the class out, with finite gradients. By definition the forward divergence is infinite where the student
    alone masks a class that the teacher gives some probability, the reverse one where the teacher alone masks.
    A row without any finite score is NaN.

    Args:
        student: scores of C classes, before any softmax.
        teacher: the teacher's; they get no gradient.
        divergence: which.
        temperature: T, divides the scores of both.

    Returns:
        One value a row; no reduction.
    """
    log_q = (student / temperature).log_softmax(1)
    log_p = (teacher.detach() / temperature).log_softmax(1)
    if divergence == "forward":
        value = _expected(log_p, log_p - log_q)
    elif divergence == "reverse":
        value = _expected(log_q, log_q - log_p)
    else:
        # log(p / m) = log 2 - softplus(log q - log p), which is exact where p and q are close
        gap = torch.where(log_p.isneginf() & log_q.isneginf(), 0.0, log_q - log_p)
        value = (_expected(log_p, math.log(2) - F.softplus(gap)) + _expected(log_q, math.log(2) - F.softplus(-gap))) / 2
    return temperature**2 * value


def _expected(log_probability: Float[Tensor, "N C"], values: Float[Tensor, "N C"]) -> Float[Tensor, "N"]:
    """Return the expected value of each row; values of probability 0 may be anything."""
    probability = log_probability.exp()
    return (probability * torch.where(probability > 0, values, 0.0)).sum(1)
