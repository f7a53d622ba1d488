"""The bias that turns the affinities of a softmax-trained model into the logits of a sigmoid-trained one."""

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import all_reduce_sum, gather, world_size
from kdmm.losses.precision import full_precision

__all__ = ["fitted_bias"]

STEPS = 25  # Newton takes 15 at the scales of CLIP; bisection alone leaves 3e-6 of a bracket of 100
LARGEST_SHARE = 1 - 1e-6  # of pairs that may be positive: for all of them no finite bias would do


@full_precision
@torch.no_grad()
def fitted_bias(logits: Float[Tensor, "B N"], positives: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
    """Return the bias b with which as many pairs are positive as there are: sum_ij sigmoid(z_ij + b) = ``positives``.

    It is where the derivative of the binary cross entropy sum_ij BCE(y_ij, sigmoid(z_ij + b)) by b vanishes, for any
    targets y, hard or soft, that add up to ``positives``: b is the most likely one. There is exactly one, as the sum
    grows with b. It is found by Newton's method on the logarithm of the sum, kept inside a bracket by bisection, in a
    fixed number of steps: how many exchanges there are must not depend on rounding.

    Args:
        logits: scale * cosine of the rows here with the columns of all ranks, without bias.
        positives: how many pairs of all ranks are positive, or the sum of their probabilities.

    Returns:
        The bias, the same on every rank, without gradient; 0 where there are no pairs.
    """
    count = all_reduce_sum(torch.tensor(float(logits.numel()), dtype=logits.dtype, device=logits.device))
    wanted = torch.as_tensor(positives, dtype=logits.dtype, device=logits.device)
    share = (wanted / count.clamp(min=1)).clamp(torch.finfo(logits.dtype).tiny, LARGEST_SHARE)
    target = share.log() + count.clamp(min=1).log()
    # Below: sigmoid(x) < exp(x). Above: with it the least likely pair alone is as likely as the mean must be.
    low = target - _log_sum_exp(logits)
    high = torch.maximum(share.logit() - _least(logits), low)
    bias = low
    for _ in range(STEPS):
        chances = (logits + bias).sigmoid()
        total, slope = all_reduce_sum(torch.stack([chances.sum(), (chances * (1 - chances)).sum()]))
        gap = total.log() - target
        low, high = torch.where(gap < 0, bias, low), torch.where(gap < 0, high, bias)
        guess = bias - gap * total / slope
        bias = torch.where((guess >= low) & (guess <= high), guess, (low + high) / 2)  # NaN is outside
    return torch.where(count > 0, bias, 0.0)


def _log_sum_exp(logits: Float[Tensor, "B N"]) -> Float[Tensor, ""]:
    return _of_all_ranks(logits.flatten().logsumexp(0)).logsumexp(0)


def _least(logits: Float[Tensor, "B N"]) -> Float[Tensor, ""]:
    return _of_all_ranks(torch.cat([logits.flatten(), logits.new_full((1,), torch.inf)]).min()).min()


def _of_all_ranks(value: Float[Tensor, ""]) -> Float[Tensor, "W"]:
    return gather(value[None], False, (1,) * world_size())
