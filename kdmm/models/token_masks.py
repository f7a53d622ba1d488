"""Hiding tokens of texts, as a function of the sample and the view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdmm.outputs import IGNORED
from kdmm.views import stable_hash

__all__ = ["mask_draws", "mask_tokens", "masked_counts"]

REPLACED_BY_MASK, REPLACED_BY_OTHER = 0.8, 0.1  # of Devlin et al. 2019; the rest of the chosen tokens stays


def masked_counts(length: int, ratio: float) -> list[int]:
    """Return how many of 0, 1, ..., ``length`` tokens are chosen: the ratio, rounded, and at least one."""
    return [0, *(max(1, round(ratio * count)) for count in range(1, length + 1))]


def mask_draws(ids: Sequence[str], views: Sequence[int], length: int, seed: int) -> Float[Tensor, "N length 3"]:
    """Return the uniform numbers in [0, 1) that decide over the tokens of each sample's view.

    They depend on nothing but the sample's id, the view and the seed; those of a shorter text are a longer one's first.

    Args:
        ids: of the N samples.
        views: their numbers.
        length: tokens of a text, at most.
        seed: of the masks.
    """
    seeds = (stable_hash(name, view, "mask", seed) for name, view in zip(ids, views, strict=True))
    drawn = [np.random.Generator(np.random.PCG64(each)).random((length, 3), dtype=np.float32) for each in seeds]
    return torch.from_numpy(np.stack(drawn)) if drawn else torch.empty(0, length, 3)


def mask_tokens(
    text: Int[Tensor, "N T"],
    draws: Float[Tensor, "N T 3"],
    ordinary: Int[Tensor, "V"],
    mask: int,
    ratio: float,
) -> tuple[Int[Tensor, "N T"], Int[Tensor, "N T"]]:
    """Return what a model is to read, and the tokens that it is to guess, -100 elsewhere.

    BERT's rule (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): of the ordinary tokens of a text `masked_counts`
    are chosen; of these, 80 % are replaced by the mask, 10 % by any ordinary token, and 10 % stay. Special tokens are
    never chosen, and replace nothing.

    Args:
        text: token numbers.
        draws: of the text's ordinary tokens in their order: who is chosen, what becomes of it, and the other token.
        ordinary: the numbers of the V tokens that are not special, in rising order.
        mask: the number of the mask.
        ratio: how many are chosen, in (0, 1].
    """
    counts = torch.tensor(masked_counts(text.shape[1], ratio), device=text.device)
    candidate = torch.isin(text, ordinary)
    place = (candidate.cumsum(1) - 1).clamp_min(0)  # among the text's ordinary tokens, wherever the padding is
    choice, fate, other = draws.gather(1, place.unsqueeze(2).expand(-1, -1, 3)).unbind(2)
    rank = choice.masked_fill(~candidate, torch.inf).argsort(dim=1, stable=True).argsort(1)
    chosen = rank < counts[candidate.sum(1)].unsqueeze(1)
    replacement = ordinary[(other * len(ordinary)).long().clamp_max(len(ordinary) - 1)]
    read = torch.where(chosen & (fate < REPLACED_BY_MASK), mask, text)
    is_other = chosen & (fate >= REPLACED_BY_MASK) & (fate < REPLACED_BY_MASK + REPLACED_BY_OTHER)
    return torch.where(is_other, replacement, read), torch.where(chosen, text, IGNORED)
