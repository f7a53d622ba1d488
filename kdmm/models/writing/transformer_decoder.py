"""A small transformer that writes: beside what was read, or after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.tokens import TextTokens
from kdmm.models.writing.decoder import Memory, TextDecoder

__all__ = ["TransformerDecoder"]

EMBEDDING_STD = 0.02  # GPT-2's; the same table scores the next token, so scores begin near zero


class TransformerDecoder(TextDecoder):
    """The transformer's decoder (Vaswani et al. 2017, arXiv:1706.03762), normalized before each layer as in GPT-2.

    Gives ``logits`` and the hidden states ``decoder.<i>`` (N, T, width): 0 for the embeddings, i after layer i, the
    last one normalized. With ``attentions`` also, of layers counted from 0, ``decoder_attention.<i>`` (N, heads, T, T),
    of tokens to tokens, and ``cross_attention.<i>`` (N, heads, T, P), of tokens to what was read, after the softmax:
    of ``prefix`` they are parts of one attention, and sum to 1 together.

    The table of tokens also scores them (Press and Wolf 2017, arXiv:1608.05859).

    Args:
        text: the tokenizer of what is written.
        width: D, of the hidden states and of the memory.
        layers: how many.
        heads: of each attention; they divide the width.
        attends: ``cross``: each layer looks at the memory by an attention of its own. ``prefix``: the memory's places
            stand before the text, as in ClipCap (Mokady et al. 2021, arXiv:2111.09734): fewer parameters.
        feedforward: width inside each layer's perceptron; ``None``: twice the width.
        dropout: of the embeddings and of what each part of a layer adds.
        attentions: whether it gives attention, which is then computed step by step instead of in one kernel.

    Raises:
        InputError: heads that do not divide the width, or no layer.
    """

    def __init__(
        self,
        text: TextTokens,
        width: int,
        layers: int = 2,
        heads: int = 4,
        attends: Literal["cross", "prefix"] = "cross",
        feedforward: int | None = None,
        dropout: float | int = 0.1,
        attentions: bool = False,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise InputError(f"TransformerDecoder.layers: {layers} given; give at least 1.")
        if heads < 1 or width < 1 or width % heads:
            raise InputError(
                f"TransformerDecoder.heads: {heads} heads do not divide the width {width}. Give a width that is a "
                "multiple of the heads."
            )
        self.width = width
        self.attends = attends
        self.attentions = attentions
        self.embedding = nn.Embedding(text.size, width)
        self.positions = nn.Embedding(text.context_length, width)
        for table in (self.embedding, self.positions):
            nn.init.normal_(table.weight, std=EMBEDDING_STD)
        self.dropout = nn.Dropout(dropout)
        inner = 2 * width if feedforward is None else feedforward
        self.layers = nn.ModuleList(
            _Layer(width, heads, inner, dropout, looks_at_memory=attends == "cross") for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    @property
    def longest(self) -> int:
        """The most tokens that there are positions for."""
        return self.positions.num_embeddings

    def forward(self, memory: Memory, previous: Int[Tensor, "N T"]) -> Mapping[str, Tensor]:
        """Score the next tokens.

        Raises:
            InputError: more tokens than positions.
        """
        length = previous.shape[1]
        if length > self.longest:
            raise InputError(
                f"TransformerDecoder: a text of {length} tokens, and there are positions for {self.longest}, the "
                "tokenizer's context_length. Set it higher, or write fewer (`max_tokens`)."
            )
        states = self.dropout(self.embedding(previous) + self.positions.weight[:length])
        found = {"decoder.0": states}
        before = 0
        if self.attends == "prefix":
            before = memory.places.shape[1]
            states = torch.cat([memory.places.to(states.dtype), states], 1)
        seen = _seen(memory.valid if before else memory.valid[:, :0], length)
        for place, layer in enumerate(self.layers):
            states, own, cross = layer(states, seen, memory, self.attentions)
            if own is not None:
                found[f"decoder_attention.{place}"] = own[:, :, before:, before:]
                found[f"cross_attention.{place}"] = own[:, :, before:, :before] if cross is None else cross
            found[f"decoder.{place + 1}"] = states[:, before:]
        last = self.norm(states[:, before:])
        found[f"decoder.{len(self.layers)}"] = last
        return {"logits": F.linear(last, self.embedding.weight), **found}


def _seen(read: Bool[Tensor, "N P"], length: int) -> Bool[Tensor, "N 1 S S"]:
    """Return what each of S = P + T places may look at: what was read of it, and texts up to themselves."""
    before = read.shape[1]
    sees = torch.ones(before + length, before + length, dtype=torch.bool, device=read.device).tril()
    sees[:before, :before] = True
    itself = torch.eye(len(sees), dtype=torch.bool, device=read.device)  # what saw nothing would become NaN
    return ((sees & F.pad(read, (0, length), value=True)[:, None]) | itself)[:, None]


class _Layer(nn.Module):
    """Attention to the text, attention to the memory if it is beside the text, and a perceptron."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float | int, looks_at_memory: bool) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), _Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width) if looks_at_memory else None
        self.cross = _Attention(width, heads) if looks_at_memory else None
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Float[Tensor, "N S D"], seen: Bool[Tensor, "N 1 S S"], memory: Memory, weights: bool
    ) -> tuple[Float[Tensor, "N S D"], Tensor | None, Tensor | None]:
        normed = self.norm(states)
        found, own = self.attention(normed, normed, seen, weights)
        states = states + self.dropout(found)
        cross = None
        if self.cross is not None and self.cross_norm is not None:
            found, cross = self.cross(self.cross_norm(states), memory.places, memory.valid[:, None, None], weights)
            states = states + self.dropout(found)
        return states + self.dropout(self.perceptron(states)), own, cross


class _Attention(nn.Module):
    """Attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self, states: Float[Tensor, "N S D"], looked_at: Float[Tensor, "N P D"], seen: Tensor, weights: bool
    ) -> tuple[Float[Tensor, "N S D"], Tensor | None]:
        query, key, value = (
            each.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for each in (self.query(states), self.key(looked_at), self.value(looked_at))
        )
        if weights:
            scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
            maps = scores.masked_fill(~seen, -torch.inf).softmax(-1)
            found = maps @ value
        else:
            maps = None
            found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.out(found.transpose(1, 2).flatten(2)), maps
