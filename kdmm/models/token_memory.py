"""Tokenizers that remember what they have numbered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

from torch import Tensor

__all__ = ["RememberingTokens"]

REMEMBERED_TEXTS = 200_000  # about 100 MB of short captions


class RememberingTokens(ABC):
    """Makes token ids of each text once a process: captions come again every epoch.

    The memory is beside the tokenizers, which are values: equal ones share it, and none takes it along to a worker.
    """

    @abstractmethod
    def rows(self, texts: list[str]) -> list[Tensor]:
        """Return each text's token ids, without padding."""

    def remembered(self, texts: list[str]) -> list[Tensor]:
        """Return each text's token ids, new or from memory."""
        known = _known_tokens(self)
        unknown = [text for text in dict.fromkeys(texts) if text not in known]
        if len(known) + len(unknown) > REMEMBERED_TEXTS:
            known.clear()
            unknown = list(dict.fromkeys(texts))
        if unknown:
            known.update(zip(unknown, self.rows(unknown), strict=True))
        return [known[text] for text in texts]


@lru_cache(maxsize=8)
def _known_tokens(tokens: RememberingTokens) -> dict[str, Tensor]:
    """Return the memory of one tokenizer's texts in this process."""
    return {}
