"""Tokenizers of models that write: texts to numbers and back, and where a model keeps one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from kdmm.errors import InputError
from kdmm.models.token_memory import RememberingTokens

__all__ = ["BEGIN", "END", "PAD", "UNTRAINED", "KeptTokens", "TextTokens", "Tokens"]

UNTRAINED = "untrained: "
PAD, BEGIN, END = "<pad>", "<s>", "</s>"
"""The special tokens of `Tokens`, numbered 0 to 2."""


class TextTokens(ABC):
    """A tokenizer whose numbers can be turned back. Hashable, and equal where they number alike."""

    @property
    @abstractmethod
    def size(self) -> int:
        """V, how many tokens there are."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Longer texts are cut to so many tokens, the end among them."""

    @property
    @abstractmethod
    def pad(self) -> int:
        """The number of the padding."""

    @property
    @abstractmethod
    def begin(self) -> int:
        """What a decoder reads in the place of a token before the first."""

    @property
    @abstractmethod
    def end(self) -> int:
        """What follows the last token of a text."""

    @abstractmethod
    def __call__(self, texts: list[str]) -> Tensor:
        """Return token numbers (N, T) int64: each text's, its end, and padding on the right; no begin."""

    @abstractmethod
    def decode(self, ids: Int[Tensor, "N T"]) -> list[str]:
        """Return the texts, each up to its first end."""

    @property
    def never(self) -> tuple[int, ...]:
        """The tokens that no text holds."""
        return tuple(sorted({self.pad, self.begin} - {self.end}))

    def before_end(self, ids: Int[Tensor, "N T"]) -> list[list[int]]:
        """Return each row up to its first end, without what no text holds."""
        rows = []
        for row in ids.tolist():
            row = row[: row.index(self.end)] if self.end in row else row
            rows.append([number for number in row if number not in self.never])
        return rows


@dataclass(frozen=True)
class Tokens(RememberingTokens, TextTokens):
    """A trained tokenizer as a value: the JSON of Hugging Face's ``tokenizers``, with `PAD`, `BEGIN` and `END`.

    Args:
        content: the JSON; `UNTRAINED` and the side where a model that is being loaded will bring it, so that two
            tokenizers are one or two as they were in training.
        count: V.
        length: longer texts are cut to so many tokens.
        side: which of a sample's texts it was trained on: ``source``, ``text`` or ``both``.
    """

    content: str
    count: int
    length: int
    side: str = field(default="both", compare=False)

    @property
    def size(self) -> int:
        """V."""
        return self.count

    @property
    def context_length(self) -> int:
        """Longer texts are cut to so many tokens."""
        return self.length

    @property
    def pad(self) -> int:
        """0."""
        return 0

    @property
    def begin(self) -> int:
        """1."""
        return 1

    @property
    def end(self) -> int:
        """2."""
        return 2

    def __call__(self, texts: list[str]) -> Tensor:
        """Return token numbers (N, T)."""
        return pad_sequence(self.remembered(texts), batch_first=True, padding_value=self.pad)

    def rows(self, texts: list[str]) -> list[Tensor]:
        """Return each text's token numbers and its end."""
        found = [each.ids[: self.length - 1] for each in _tokenizer(self.content).encode_batch(texts)]
        return [torch.tensor([*ids, self.end], dtype=torch.long) for ids in found]

    def decode(self, ids: Int[Tensor, "N T"]) -> list[str]:
        """Return the texts; bytes that are no UTF-8 become replacement characters."""
        return [text.strip() for text in _tokenizer(self.content).decode_batch(self.before_end(ids))]


@lru_cache(maxsize=8)
def _tokenizer(content: str) -> Any:
    """Return the tokenizer of a JSON, made once a process."""
    if content.startswith(UNTRAINED):
        raise InputError(
            "TrainedTokens.trained_on: null, and no trained model has brought a tokenizer. Name a source to train on."
        )
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = True  # "</s>" in a text is text; the JSON does not keep this
    return tokenizer


class KeptTokens(nn.Module):
    """Keeps a tokenizer in the state of the model that reads by it: a model file needs no other file, and no data.

    Args:
        tokens: the tokenizer; its content is replaced when a state is loaded.
    """

    def __init__(self, tokens: TextTokens) -> None:
        super().__init__()
        self.tokens = tokens

    def get_extra_state(self) -> Tensor:
        """Return the content as bytes; nothing of a tokenizer that is in a folder of its own."""
        content = self.tokens.content if isinstance(self.tokens, Tokens) else ""
        return torch.from_numpy(np.frombuffer(content.encode(), dtype=np.uint8).copy())

    def set_extra_state(self, state: Tensor) -> None:
        """Take the content over."""
        if isinstance(self.tokens, Tokens):
            self.tokens = replace(self.tokens, content=state.cpu().numpy().tobytes().decode())
