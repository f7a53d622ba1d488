"""The attention of transformers' models with its scores in sight, as papers compare them: before the softmax."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError

__all__ = ["WITH_SCORES", "attend", "set_attention"]

WITH_SCORES = "kdmm_scores"
"""What `attend` is called in transformers' list of attention functions."""


def attend(
    module: nn.Module,
    query: Float[Tensor, "N H T D"],
    key: Float[Tensor, "N H S D"],
    value: Float[Tensor, "N H S D"],
    attention_mask: Float[Tensor, "N #H #T S"] | None,
    scaling: float | None = None,
    dropout: float | int = 0.0,
    **others: Any,
) -> tuple[Float[Tensor, "N T H D"], Float[Tensor, "N H T S"]]:
    """Return what attention gives, and its scores; the interface is that of transformers' attention functions.

    Args:
        module: whose attention it is.
        query: of H heads.
        key: the keys.
        value: the values.
        attention_mask: added to the scores: 0, or the lowest number where a key does not count.
        scaling: of the scores; ``None``: 1 over the square root of D.
        dropout: of the weights in training; the scores are without.
        others: what other attention functions take.
    """
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.dropout(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), scores


def set_attention(model: Any, name: str) -> None:
    """Let a transformers model compute attention by the function of a name.

    By `WITH_SCORES` it gives the scores as its ``attentions`` when it is called with ``output_attentions``. It is then
    slower: transformers' own attention does not make them.

    Args:
        model: the model.
        name: transformers' own, such as ``sdpa``, or `WITH_SCORES`.

    Raises:
        InputError: its attention cannot be replaced.
    """
    if name == model.config._attn_implementation:
        return
    if name == WITH_SCORES:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import eager_mask

        AttentionInterface.register(name, attend)
        AttentionMaskInterface.register(name, eager_mask)
    model.set_attn_implementation(name)
    if model.config._attn_implementation != name:
        raise InputError(
            f"taps: the attention of {type(model).__name__} has no scores that can be tapped. Tap the hidden states "
            "alone, or take a model whose attention transformers can replace (AttentionInterface), such as BERT."
        )
