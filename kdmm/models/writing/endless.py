"""A tokenizer of texts without an end: every search takes as many steps as it may."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from kdmm.models.tokens import TextTokens

__all__ = ["Endless"]


@dataclass(frozen=True)
class Endless(TextTokens):
    """The same tokens, but the end is among those that no text holds.

    Given to :meth:`kdmm.models.TextDecoder.write`, all texts have ``max_tokens`` tokens, so that the time it takes
    depends on the network and the beams, not on what was learned.

    Args:
        tokens: the tokenizer of what is written.
    """

    tokens: TextTokens

    @property
    def never(self) -> tuple[int, ...]:
        """The tokens that no text holds, the end among them."""
        return tuple(sorted({*self.tokens.never, self.end}))

    @property
    def size(self) -> int:
        """V."""
        return self.tokens.size

    @property
    def context_length(self) -> int:
        """Longer texts are cut to so many tokens."""
        return self.tokens.context_length

    @property
    def pad(self) -> int:
        """The number of the padding."""
        return self.tokens.pad

    @property
    def begin(self) -> int:
        """What a decoder reads in the place of a token before the first."""
        return self.tokens.begin

    @property
    def end(self) -> int:
        """What no text is written with."""
        return self.tokens.end

    def __call__(self, texts: list[str]) -> Tensor:
        """Return token numbers (N, T), with the ends that given texts have."""
        return self.tokens(texts)

    def decode(self, ids: Int[Tensor, "N T"]) -> list[str]:
        """Return the texts."""
        return self.tokens.decode(ids)
