"""Finding a likely text token by token: greedy and beam search, for decoders without a search of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdmm.models.tokens import TextTokens

__all__ = ["beam_search", "greedy_search"]

Scores = Callable[[Tensor], Tensor]
"""The tokens so far (M, T), the begin first, to the scores of the next one (M, V)."""


def greedy_search(
    scores: Scores, count: int, tokens: TextTokens, max_tokens: int, device: torch.device
) -> Int[Tensor, "N T"]:
    """Take the best token each time.

    Args:
        scores: of the next token.
        count: N.
        tokens: says which token begins and ends a text, and which none holds.
        max_tokens: the most that are written, with the end.
        device: where the scores are computed.

    Returns:
        The tokens without the begin; padding after the end.
    """
    texts = torch.full((count, 1), tokens.begin, device=device)
    ended = torch.zeros(count, dtype=torch.bool, device=device)
    for _ in range(max_tokens):
        best = torch.where(ended, tokens.pad, _masked(scores(texts), tokens).argmax(1))
        texts = torch.cat([texts, best[:, None]], 1)
        ended = ended | (best == tokens.end)
        if bool(ended.all()):
            break
    return texts[:, 1:]


def beam_search(
    scores: Scores,
    count: int,
    tokens: TextTokens,
    beams: int,
    max_tokens: int,
    device: torch.device,
    best: int = 1,
) -> Int[Tensor, "M T"]:
    """Keep the K likeliest beginnings, and return the ended texts with the greatest log-likelihood a token.

    As in transformers: a text counts its end; it may end where it is among the K likeliest; the search of a sample is
    over when K texts have ended that are all better than the best beginning is so far. What has not ended after
    ``max_tokens`` counts as it is.

    Args:
        scores: of the next token, for the K beginnings of each sample, one after the other.
        count: N.
        tokens: as for `greedy_search`.
        beams: K.
        max_tokens: the most that are written, with the end.
        device: where the scores are computed.
        best: ended texts a sample, up to K.

    Returns:
        The tokens of each sample's best texts without the begin, one text after the other, the best first, M = N * best
        in all; padding after the end. Where fewer than K texts can be written at all, the last ones are empty.
    """
    texts = torch.full((count, beams, 1), tokens.begin, device=device)
    total = torch.full((count, beams), -torch.inf, device=device)
    total[:, 0] = 0.0  # all beginnings are alike, so one goes on
    ended = torch.full((count, beams, max_tokens + 1), tokens.pad, device=device)
    ended_score = torch.full((count, beams), -torch.inf, device=device)
    over = torch.zeros(count, 1, dtype=torch.bool, device=device)  # so that no text depends on its neighbours'
    for length in range(1, max_tokens + 1):
        scored = _masked(scores(texts.flatten(0, 1)), tokens).log_softmax(1).float()
        every = (total[..., None] + scored.reshape(count, beams, -1)).flatten(1)
        value, place = every.topk(2 * beams, 1)  # K of them go on, if K end
        parent, token = place // scored.shape[1], place % scored.shape[1]
        grown = torch.cat([texts.gather(1, parent[..., None].expand(-1, -1, length)), token[..., None]], 2)
        ends = (token == tokens.end) | (length == max_tokens)
        among_best = torch.arange(value.shape[1], device=device) < beams
        candidate = torch.where(ends & among_best & ~over, value / length, -torch.inf)
        padded = torch.nn.functional.pad(grown, (0, max_tokens - length), value=tokens.pad)
        ended_score, kept = torch.cat([ended_score, candidate], 1).topk(beams, 1)
        ended = torch.cat([ended, padded], 1).gather(1, kept[..., None].expand(-1, -1, max_tokens + 1))
        total, kept = torch.where(ends, -torch.inf, value).topk(beams, 1)
        texts = grown.gather(1, kept[..., None].expand(-1, -1, length + 1))
        over = over | (ended_score[:, -1:] >= total[:, :1] / length)
        if bool(over.all()):
            break
    found = ended[:, :best, 1:].flatten(0, 1)
    return found[:, : max(1, int((found != tokens.pad).any(0).sum()))]


def _masked(scores: Float[Tensor, "M V"], tokens: TextTokens) -> Float[Tensor, "M V"]:
    """Return the scores without the tokens that no text holds."""
    return scores.index_fill(1, torch.tensor(tokens.never, dtype=torch.long, device=scores.device), -torch.inf)
