"""How much a teacher says besides its best class."""

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.losses.precision import full_precision

__all__ = ["mean_entropy"]


@full_precision
def mean_entropy(logits: Float[Tensor, "*N C"], temperature: float | int = 1.0) -> Float[Tensor, ""]:
    """Mean over rows of the entropy of softmax(logits / temperature), in nats, without gradient.

    From 0 (one class gets all: such a teacher adds nothing to labels) to log C (all classes alike: it says nothing). A
    teacher trained with label smoothing says less of how the other classes differ (Müller et al. 2019,
    arXiv:1906.02629).

    Args:
        logits: scores of C classes or tokens, of one row or more. A class masked by -inf has probability 0.
        temperature: divides the scores.
    """
    log_p = (logits.detach() / temperature).log_softmax(-1)
    p = log_p.exp()
    return -(p * torch.where(p > 0, log_p, 0.0)).sum(-1).mean()
