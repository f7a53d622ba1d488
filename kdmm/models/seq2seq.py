"""Translators: a text is read, and another is written."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models.files import locate
from kdmm.models.preprocess import Preprocess
from kdmm.models.tokens import KeptTokens, TextTokens, Tokens
from kdmm.models.writing import EncoderDecoder, FolderTokens, Memory, TransformersNetwork, Writer

__all__ = ["PretrainedSeq2Seq", "Seq2Seq"]


class Seq2Seq(Writer):
    """Reads a source text and writes another, by transformers' encoder-decoders or by a network of one's own.

    What it gives is said at :class:`kdmm.models.writing.Writer`; transformers' also give their layers, see
    :class:`kdmm.models.writing.TransformersNetwork`.

    Args:
        network: a config of transformers, such as ``{_target_: transformers.MarianConfig, d_model: 64}``: its
            vocabulary and special tokens are set from the tokenizers; or a network of one's own. With Marian's and
            BART's default ``init_std`` of 0.02 it learns slowly from nothing: ``scale_embedding: true`` and an
            ``init_std`` of 1 / sqrt(d_model) are the transformer's own.
        source: the tokenizer of what is read.
        text: the tokenizer of what is written. Another than the source's needs Marian or one's own network:
            transformers' others have one table for both.
        attentions: whether a network that is made from a config gives its attention, which is then computed step by
            step instead of in one kernel.

    Raises:
        InputError: what is given does not fit together.
    """

    modality = "source"

    def __init__(self, network: Any, source: TextTokens, text: TextTokens, attentions: bool = False) -> None:
        super().__init__(text)
        self.kept_source = KeptTokens(source)
        _check_told_apart(source, text)
        own = isinstance(network, EncoderDecoder)
        self.network: EncoderDecoder = network if own else _made(network, source, text, attentions)
        if isinstance(self.network, TransformersNetwork):
            _check_positions(self.network, source, text)

    @property
    def source(self) -> TextTokens:
        """The tokenizer of what is read."""
        return self.kept_source.tokens

    @property
    def preprocess(self) -> Preprocess:
        """The two tokenizers."""
        return Preprocess(source=self.source, text=self.text)

    @property
    def decoder(self) -> EncoderDecoder:
        """The network."""
        return self.network

    @property
    def blank(self) -> Int[Tensor, "1 1"]:
        """An empty source text."""
        return torch.full((1, 1), self.source.end, device=next(self.parameters()).device)

    def read(self, inputs: Int[Tensor, "N S"]) -> Memory:
        """Read source texts.

        Args:
            inputs: their tokens.
        """
        return self.network.encode(inputs, inputs != self.source.pad)

    def translate(self, texts: list[str], beams: int = 1, max_tokens: int | None = None) -> list[str]:
        """Translate texts.

        Args:
            texts: to be read.
            beams: as for `generate`.
            max_tokens: as for `generate`.
        """
        device = next(self.parameters()).device
        return self.generate(self.source(texts).to(device), beams, max_tokens) if texts else []


def PretrainedSeq2Seq(  # noqa: N802  a model to its users, who write it in YAML
    name: str,
    weights: Literal["pretrained"] | None = "pretrained",
    context_length: int = 64,
    attentions: bool = False,
) -> Seq2Seq:
    """Take a pretrained encoder-decoder of transformers with its tokenizer, one for what is read and written.

    Args:
        name: a folder, a hub name, or ``package:<module>/<folder>``; it is needed again where a trained model is
            loaded, for its architecture and its tokenizer.
        weights: ``pretrained`` loads its weights; ``null`` starts at random.
        context_length: longer texts are cut to so many tokens.
        attentions: as for :class:`Seq2Seq`.

    Raises:
        InputError: there is no such model.
    """
    from transformers import AutoConfig, AutoModelForSeq2SeqLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar of its own for reading one file
    place = str(locate(name))
    settings = {"trust_remote_code": False, "attn_implementation": _attention(attentions)}
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        if weights is None:
            model = AutoModelForSeq2SeqLM.from_config(config, **settings)
        else:
            model = AutoModelForSeq2SeqLM.from_pretrained(place, config=config, dtype=torch.float32, **settings)
    except (OSError, ValueError) as error:
        raise InputError(
            f"PretrainedSeq2Seq.name: {name!r} is neither a folder with a transformers encoder-decoder nor a hub name "
            f"that could be fetched ({str(error).strip().splitlines()[0]})."
        ) from error
    tokens = FolderTokens(name, context_length)
    return Seq2Seq(TransformersNetwork(model, attentions), tokens, tokens)


def _made(config: Any, source: TextTokens, text: TextTokens, attentions: bool) -> TransformersNetwork:
    """Return a network made from a config, with the tokenizers' vocabulary."""
    from transformers import AutoModelForSeq2SeqLM, PretrainedConfig

    if not isinstance(config, PretrainedConfig):
        raise InputError(
            f"Seq2Seq.network: {type(config).__name__} given. Give a config of transformers, such as "
            "transformers.MarianConfig, or an EncoderDecoder of your own."
        )
    has_two = "decoder_vocab_size" in config.to_dict()
    if source != text and not has_two:
        raise InputError(
            f"Seq2Seq.text: another tokenizer than `source`, but {type(config).__name__} has one table of tokens for "
            "both. Give both the same (`side: both`), or take transformers.MarianConfig."
        )
    config.vocab_size = source.size
    if has_two:
        config.decoder_vocab_size = text.size
        config.share_encoder_decoder_embeddings = source == text
    config.is_encoder_decoder = True
    config.pad_token_id, config.bos_token_id, config.eos_token_id = text.pad, text.begin, text.end
    config.decoder_start_token_id = text.begin
    config.forced_bos_token_id = config.forced_eos_token_id = None
    try:
        model = AutoModelForSeq2SeqLM.from_config(config, attn_implementation=_attention(attentions))
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"Seq2Seq.network: {type(config).__name__} makes no encoder-decoder ({reason}).") from error
    return TransformersNetwork(model, attentions)


def _check_told_apart(source: TextTokens, text: TextTokens) -> None:
    """Refuse tokenizers that a model file could not tell apart, which holds their content in its tensors alone."""
    if not isinstance(source, Tokens) or not isinstance(text, Tokens) or source == text:
        return
    if (source.side, source.size, source.context_length) == (text.side, text.size, text.context_length):
        raise InputError(
            f"Seq2Seq.source and Seq2Seq.text: two tokenizers of the same settings (`side: {text.side}`) that were "
            "trained on other texts. Set `side: source` and `side: text`, or train both on the same source."
        )


def _check_positions(network: TransformersNetwork, source: TextTokens, text: TextTokens) -> None:
    longest = max(source.context_length, text.context_length)
    if network.longest is not None and longest > network.longest:
        raise InputError(
            f"Seq2Seq: a tokenizer's context_length is {longest}, but the network has positions for {network.longest} "
            "tokens. Set its `max_position_embeddings` to as many."
        )


def _attention(attentions: bool) -> str:
    return "eager" if attentions else "sdpa"
