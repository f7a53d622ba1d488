"""Is this the teacher's embedding of the same sample, or of another one: noise-contrastive estimation."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import gather, rows_here, world_size
from kdmm.losses.precision import full_precision

__all__ = ["critic_scores", "log_mean_ratio", "noise_contrast"]


@full_precision
def critic_scores(
    anchors: Float[Tensor, "B D"],
    partners: Float[Tensor, "B D"],
    stored: Float[Tensor, "K D"],
    temperature: float,
    counts: tuple[int, ...],
) -> Float[Tensor, "B M"]:
    """Return <anchor, candidate> / temperature, with the N partners of all ranks and K stored vectors as candidates.

    Args:
        anchors: unit vectors of one model.
        partners: unit vectors of the other, of the same samples.
        stored: unit vectors of the other, of samples seen before; they get no gradient.
        temperature: divides the cosines.
        counts: ``row_counts(anchors)``.
    """
    candidates = torch.cat([gather(partners, True, counts), stored.detach()])
    return (anchors / temperature) @ candidates.T


@full_precision
def log_mean_ratio(scores: Float[Tensor, "B M"], negative: Bool[Tensor, "B M"]) -> Float[Tensor, ""]:
    """Return log(mean exp(score)) over the negatives of all ranks, without gradient; 0 where there are none."""
    count = negative.sum().to(scores.dtype)
    total = torch.where(negative, scores.detach(), -torch.inf).flatten().logsumexp(0)
    everywhere = (1,) * world_size()
    counts, totals = gather(count[None], False, everywhere), gather(total[None], False, everywhere)
    mean = totals.logsumexp(0) - counts.sum().clamp(min=1).log()
    return torch.where(counts.sum() > 0, mean, 0.0)


@full_precision
def noise_contrast(
    scores: Float[Tensor, "B M"],
    negative: Bool[Tensor, "B M"],
    log_mean: Float[Tensor, ""],
    counts: tuple[int, ...],
) -> Float[Tensor, "B"]:
    """Binary cross entropy of telling each anchor's partner from its negatives, in nats, summed over all of them.

    With f_ij the scores, n_i the number of i's negatives, and m a constant, their mean exp(f)::

        h_ij = r_ij / (r_ij + n_i)      r_ij = exp(f_ij) / m
        value_i = -log h_ii - sum_{j negative for i} log(1 - h_ij)

    r estimates how many times likelier a pair is of one sample than of two, and h the probability of that among one
    partner and n_i negatives: the loss of Tian et al. 2020, arXiv:1910.10699.

    Args:
        scores: of `critic_scores`; an anchor's partner stands at its place among the rows of all ranks.
        negative: which candidates are of other samples.
        log_mean: log m, such as `log_mean_ratio` of the first batch; it gets no gradient.
        counts: ``row_counts(scores)``.

    Returns:
        The value of each anchor here; 0 for one without negatives.
    """
    numbers = negative.sum(1).to(scores.dtype)
    gaps = scores - log_mean.detach() - numbers.clamp(min=1).log()[:, None]  # log(r / n), so h = sigmoid of it
    rows = torch.arange(len(scores), device=scores.device)
    own = gaps[rows, rows + rows_here(counts).start]
    values = F.softplus(-own) + torch.where(negative, F.softplus(gaps), 0.0).sum(1)
    return torch.where(numbers > 0, values, 0.0)
