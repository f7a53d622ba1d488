"""What several teachers say together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.losses.precision import full_precision

__all__ = ["confidence", "joined", "mixed"]


@full_precision
def mixed(
    logits: Float[Tensor, "K B *rest"], weights: Float[Tensor, "K *#shape"], temperature: float, classes: int
) -> Float[Tensor, "B *rest"]:
    """Return the logits of the mean of probabilities, ``T log Σ_k w_k softmax(z_k / T)``.

    At temperature 1 they are log-probabilities. In general the factor T lets a loss that divides by T find the mean of
    probabilities again, and lets one teacher alone be itself, but for a constant, at every temperature.

    Args:
        logits: of K teachers.
        weights: of the teachers, of sum 1: (K,) with as many dimensions as the logits, 1 where they are alike.
        temperature: T.
        classes: the dimension of the classes.
    """
    log_p = torch.log_softmax(logits / temperature, classes)
    return temperature * torch.logsumexp(weights.log() + log_p, 0)


@full_precision
def confidence(
    logits: Float[Tensor, "K B *rest"], weights: Float[Tensor, "K *#shape"], temperature: float, classes: int
) -> Float[Tensor, "K B *places"]:
    """Return weights of sum 1 for each sample (and place): ``w_k exp(-H_k)``, H the entropy in nats at T, normalized.

    A teacher counts the more the fewer classes it wavers between: ``exp(H)`` is the perplexity, that number. Kwon et
    al. 2020 (https://doi.org/10.1109/ICASSP40776.2020.9054698) had the idea, with ``1 / H``, which has no limit for a
    teacher that is certain.

    Args:
        logits: of K teachers.
        weights: of the teachers, as for `mixed`.
        temperature: T.
        classes: the dimension of the classes, which is 1 wide in the result.
    """
    p = torch.softmax(logits / temperature, classes)
    entropy = torch.special.entr(p).sum(classes, keepdim=True)
    return torch.softmax(weights.log() - entropy, 0)


def joined(embeddings: Sequence[Float[Tensor, "B _"]], weights: Float[Tensor, "K"]) -> Float[Tensor, "B D"]:
    """Return the embeddings side by side, each scaled by the root of its weight.

    Inner products are then the weighted means of the teachers' own, ``Σ_k w_k <x_k, y_k>``; so with weights of sum 1
    unit vectors stay of unit length, and cosines become the means of the teachers' cosines.

    Args:
        embeddings: of K teachers, of any widths.
        weights: of the teachers.
    """
    return torch.cat([root * each.float() for root, each in zip(weights.sqrt(), embeddings, strict=True)], 1)
