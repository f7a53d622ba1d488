"""An encoder-decoder of transformers, apart from what it reads by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.tied import keep_tied_once
from kdmm.models.tokens import TextTokens
from kdmm.models.writing.decoder import EncoderDecoder, Memory

__all__ = ["TransformersNetwork"]


class TransformersNetwork(EncoderDecoder):
    """A transformers encoder-decoder, such as Marian, BART or T5, with transformers' own search.

    Gives the hidden states of its layers as ``encoder.<i>`` and ``decoder.<i>`` (N, T, D), 0 for the embeddings, and,
    where the model computes them, attention after the softmax: ``encoder_attention.<i>`` and ``decoder_attention.<i>``
    (N, heads, T, T), and of the decoder to what was read ``cross_attention.<i>`` (N, heads, T, P). Its decoder looks at
    any `Memory` of its width: of an image tower, too.

    Args:
        model: with ``get_encoder`` and ``generate``.
        attentions: whether it gives attention; the model must be made with ``attn_implementation="eager"``.
    """

    def __init__(self, model: nn.Module, attentions: bool = False) -> None:
        super().__init__()
        self.model: Any = model
        self.attentions = attentions
        keep_tied_once(self)

    @property
    def longest(self) -> int | None:
        """The most tokens that the model has positions for; ``None``: there is no such limit."""
        return getattr(self.model.config, "max_position_embeddings", None)

    @property
    def width(self) -> int:  # type: ignore[override]  # a decoder's attribute, here the config's
        """D, of the memory that the decoder looks at."""
        return int(self.model.config.hidden_size)

    def encode(self, source: Int[Tensor, "N S"], valid: Bool[Tensor, "N S"]) -> Memory:
        """Read source texts."""
        found = self.model.get_encoder()(
            input_ids=source,
            attention_mask=valid.long(),
            output_hidden_states=True,
            output_attentions=self.attentions,
            return_dict=True,
        )
        further = {**_numbered("encoder", found.hidden_states), **self._maps("encoder_attention", found.attentions)}
        return Memory(found.last_hidden_state, valid, further)

    def forward(self, memory: Memory, previous: Int[Tensor, "N T"]) -> Mapping[str, Tensor]:
        """Score the next tokens."""
        found = self.model(
            encoder_outputs=_read(memory),
            attention_mask=memory.valid.long(),
            decoder_input_ids=previous,
            use_cache=False,
            output_hidden_states=True,
            output_attentions=self.attentions,
            return_dict=True,
        )
        return {
            "logits": found.logits,
            **_numbered("decoder", found.decoder_hidden_states),
            **self._maps("decoder_attention", found.decoder_attentions),
            **self._maps("cross_attention", found.cross_attentions),
        }

    @torch.no_grad()
    def write(
        self, memory: Memory, tokens: TextTokens, beams: int, max_tokens: int, best: int = 1
    ) -> Int[Tensor, "M T"]:
        """Return the best texts of each sample, by transformers' search, which keeps what the layers computed.

        Raises:
            InputError: the model has no positions for so many tokens.
        """
        if self.longest is not None and max_tokens > self.longest:
            raise InputError(
                f"generate.max_tokens: {max_tokens} given, but the model has positions for {self.longest} "
                f"(`max_position_embeddings`). Give {self.longest} or fewer."
            )
        from transformers import GenerationConfig

        settings = GenerationConfig(
            num_beams=beams,
            num_return_sequences=best,
            do_sample=False,
            max_new_tokens=max_tokens,
            decoder_start_token_id=tokens.begin,
            bos_token_id=tokens.begin,
            eos_token_id=tokens.end,
            pad_token_id=tokens.pad,
            suppress_tokens=list(tokens.never),
        )
        ids: Tensor = self.model.generate(
            encoder_outputs=_read(memory), attention_mask=memory.valid.long(), generation_config=settings
        )
        return ids[:, 1:]

    def _maps(self, name: str, attentions: Any) -> dict[str, Tensor]:
        return _numbered(name, attentions) if self.attentions else {}


def _read(memory: Memory) -> Any:
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=memory.places)


def _numbered(name: str, tensors: Any) -> dict[str, Tensor]:
    return {f"{name}.{place}": tensor for place, tensor in enumerate(tensors)}
