"""Named tokenizers as values: transformers' and open_clip's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Int
from open_clip.pretrained import download_pretrained_from_hf
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kdmm.errors import InputError
from kdmm.models.files import locate
from kdmm.models.token_memory import RememberingTokens

__all__ = ["OpenClipTokens", "TransformerTokens", "answer_places", "open_clip_text_settings", "transformers_tokenizer"]


@dataclass(frozen=True)
class TransformerTokens(RememberingTokens):
    """A transformers tokenizer, padded to the longest caption of the batch.

    Args:
        name: a hub name, a folder, or ``package:<module>/<folder>``.
        context_length: longer captions are cut to this many tokens.
    """

    name: str
    context_length: int = 64

    def __call__(self, texts: list[str]) -> Tensor:
        """Return token ids (N, T), T at most ``context_length``."""
        tokenizer = transformers_tokenizer(self.name)
        return pad_sequence(
            self.remembered(texts),
            batch_first=True,
            padding_value=tokenizer.pad_token_id,
            padding_side=tokenizer.padding_side,
        )

    def rows(self, texts: list[str]) -> list[Tensor]:
        """Return each text's token ids."""
        ids = transformers_tokenizer(self.name)(texts, truncation=True, max_length=self.context_length).input_ids
        return [torch.tensor(row) for row in ids]


@lru_cache(maxsize=8)
def transformers_tokenizer(name: str) -> Any:
    """Load a transformers tokenizer once a process."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(locate(name)), trust_remote_code=False)


@dataclass(frozen=True)
class OpenClipTokens(RememberingTokens):
    """The tokenizer that an open_clip architecture names.

    A tower that is causal and reads its answer at the end of the text, such as CLIP's, answers the same without what
    follows: its batches are cut after the longest text. Other towers' texts are padded to their context length.

    Args:
        architecture: as for :class:`kdmm.models.OpenClip`.
    """

    architecture: str

    def __call__(self, texts: list[str]) -> Tensor:
        """Return token ids (N, T), T at most the architecture's context length."""
        return pad_sequence(self.remembered(texts), batch_first=True)

    def rows(self, texts: list[str]) -> list[Tensor]:
        """Return each text's token ids, up to where the tower reads its answer."""
        tokenizer, settings = _open_clip_tokenizer(self.architecture)
        tokens = tokenizer(texts)
        ends = answer_places(settings, tokens)
        return [row[: end + 1].clone() for row, end in zip(tokens, ends.tolist(), strict=True)]


def answer_places(settings: Mapping[str, Any], tokens: Int[Tensor, "N T"]) -> Int[Tensor, "N"]:
    """Return after which token of each row nothing changes an open_clip text tower's answer.

    Args:
        settings: ``text_cfg``.
        tokens: padded to the context length.
    """
    looks_ahead = any(settings.get(name) for name in ("hf_model_name", "no_causal_mask", "embed_cls"))
    pool = settings.get("pool_type", "argmax")
    if pool == "argmax" and not looks_ahead:
        return tokens.argmax(dim=1)
    if pool == "eos" and not looks_ahead:
        is_end: Tensor = tokens == settings.get("eos_id", 2)
        return is_end.int().argmax(dim=1)
    return torch.full((len(tokens),), tokens.shape[1] - 1, device=tokens.device)


@lru_cache(maxsize=8)
def _open_clip_tokenizer(architecture: str) -> tuple[Any, dict[str, Any]]:
    """Return the tokenizer and the ``text_cfg`` of an architecture, read once a process."""
    text = open_clip_text_settings(architecture)
    # An argument overrides the settings. open_clip's other tokenizers have no such argument: they run no such files.
    no_code = {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}
    return open_clip.get_tokenizer(architecture, **no_code), text


def open_clip_text_settings(architecture: str) -> dict[str, Any]:
    """Return the ``text_cfg`` of an open_clip architecture.

    Args:
        architecture: as for :class:`kdmm.models.OpenClip`.

    Raises:
        InputError: the settings cannot be read, or would let the tokenizer run Python files of their author's.
    """
    try:
        settings = _open_clip_settings(architecture)
        text: dict[str, Any] = dict(settings["text_cfg"])
        wanted = dict(text.get("tokenizer_kwargs") or {})
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"OpenClip.architecture: the settings of {architecture!r} could not be loaded ({error}). "
            "Without a network, give 'local-dir:<folder>', a folder with open_clip_config.json."
        ) from error
    if wanted.get("trust_remote_code"):
        raise InputError(
            f"OpenClip.architecture: the settings of {architecture!r} ask for `tokenizer_kwargs.trust_remote_code`, "
            "which runs Python files that come with them; kdmm does not. If the tokenizer works without, take it "
            "out of a copy of open_clip_config.json and give 'local-dir:<folder>'."
        )
    return text


def _open_clip_settings(architecture: str) -> Any:
    schema, separator, place = architecture.partition(":")
    if not separator:
        return open_clip.get_model_config(architecture)
    if schema == "local-dir":
        file = Path(place) / "open_clip_config.json"
    else:
        file = Path(download_pretrained_from_hf(place, filename="open_clip_config.json"))
    return json.loads(file.read_text("utf-8"))["model_cfg"]
