"""The tokenizer of a pretrained encoder-decoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jaxtyping import Int
from torch import Tensor

from kdmm.models.files import locate
from kdmm.models.named_tokens import TransformerTokens, transformers_tokenizer
from kdmm.models.tokens import TextTokens

__all__ = ["FolderTokens"]


@dataclass(frozen=True)
class FolderTokens(TextTokens):
    """A transformers tokenizer beside its encoder-decoder, which says what a text begins with.

    Args:
        name: a folder, a hub name, or ``package:<module>/<folder>``.
        length: longer texts are cut to so many tokens.
    """

    name: str
    length: int = 64

    @property
    def size(self) -> int:
        """V, as the model has it: its table may be larger than the vocabulary."""
        return int(_config(self.name).vocab_size)

    @property
    def context_length(self) -> int:
        """Longer texts are cut to so many tokens."""
        return self.length

    @property
    def pad(self) -> int:
        """The number of the padding."""
        return int(transformers_tokenizer(self.name).pad_token_id)

    @property
    def begin(self) -> int:
        """What the decoder reads before the first token."""
        return int(_config(self.name).decoder_start_token_id)

    @property
    def end(self) -> int:
        """What follows the last token."""
        return int(transformers_tokenizer(self.name).eos_token_id)

    def __call__(self, texts: list[str]) -> Tensor:
        """Return token numbers (N, T)."""
        return TransformerTokens(self.name, self.length)(texts)

    def decode(self, ids: Int[Tensor, "N T"]) -> list[str]:
        """Return the texts."""
        rows = self.before_end(ids)
        texts = transformers_tokenizer(self.name).batch_decode(rows, skip_special_tokens=True)
        return [text.strip() for text in texts]


@lru_cache(maxsize=8)
def _config(name: str) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(str(locate(name)), trust_remote_code=False)
