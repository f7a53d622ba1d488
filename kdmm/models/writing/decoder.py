"""What writes: a decoder that looks at what was read, whether text, picture or sound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdmm.models.tokens import TextTokens
from kdmm.models.writing.search import beam_search, greedy_search

__all__ = ["EncoderDecoder", "Memory", "TextDecoder"]


@dataclass(frozen=True, eq=False)
class Memory:
    """What was read of N samples, for a decoder to look at.

    Args:
        places: tokens, patches or frames (N, P, D).
        valid: which of them count (N, P) bool.
        further: other activations of these places, (N, P, ...) or attention (N, heads, P, P), by their names.
    """

    places: Float[Tensor, "N P D"]
    valid: Bool[Tensor, "N P"]
    further: Mapping[str, Tensor] = field(default_factory=dict)

    def rows(self, flag: Bool[Tensor, "N"]) -> Memory:
        """Return the memory of some samples, without what no decoder looks at."""
        return Memory(self.places[flag], self.valid[flag])

    @property
    def first(self) -> Memory:
        """The memory of the first sample."""
        return Memory(self.places[:1], self.valid[:1])

    def repeated(self, times: int) -> Memory:
        """Return the memory with each sample several times, one after the other."""
        return Memory(self.places.repeat_interleave(times, 0), self.valid.repeat_interleave(times, 0))


class TextDecoder(nn.Module, ABC):
    """Scores the next token of a text, given what was read.

    A decoder of one's own needs `forward`, and in a captioner, which fits to it what its tower gives, `width`.
    """

    width: int
    """D, of the memory that is looked at."""

    @abstractmethod
    def forward(self, memory: Memory, previous: Int[Tensor, "N T"]) -> Mapping[str, Tensor]:
        """Return ``logits`` (N, T, V), of what follows each token, and any further activations of the T places.

        Attention to the memory is called ``cross_attention.<i>`` (N, heads, T, P).

        Args:
            memory: what was read.
            previous: the tokens before those that are scored: the begin, then the text. No place may look ahead, so
                what follows a text's end reaches no score before it.
        """

    @torch.no_grad()
    def write(
        self, memory: Memory, tokens: TextTokens, beams: int, max_tokens: int, best: int = 1
    ) -> Int[Tensor, "M T"]:
        """Return the best texts of each sample, M = N * best, each token in turn with all before it.

        Args:
            memory: what was read.
            tokens: the tokenizer of what is written; nothing of its `never` is.
            beams: 1 takes the best token each time.
            max_tokens: the most that are written, with the end.
            best: texts a sample, up to as many as beams; they stand one after the other, the best first.
        """
        many = memory if beams == 1 else memory.repeated(beams)

        def scores(previous: Tensor) -> Tensor:
            logits: Tensor = self(many, previous)["logits"]
            return logits[:, -1]

        count, device = len(memory.places), memory.places.device
        if beams == 1:
            return greedy_search(scores, count, tokens, max_tokens, device)
        return beam_search(scores, count, tokens, beams, max_tokens, device, best)


class EncoderDecoder(TextDecoder, ABC):
    """A decoder with the encoder that reads for it. One's own network needs `encode` and `forward`."""

    @abstractmethod
    def encode(self, source: Int[Tensor, "N S"], valid: Bool[Tensor, "N S"]) -> Memory:
        """Read source texts.

        Args:
            source: their tokens.
            valid: which of them are no padding.
        """
