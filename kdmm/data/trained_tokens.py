"""Tokenizers trained on what is read and written: subword units of a source's own training texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from kdmm.data.source import Source
from kdmm.errors import InputError
from kdmm.models.tokens import BEGIN, END, PAD, UNTRAINED, Tokens

__all__ = ["TrainedTokens"]

LEAST = 3 + 256  # the special tokens and all bytes


def TrainedTokens(  # noqa: N802  a tokenizer to its users, who write it in YAML
    trained_on: Source | None,
    vocab_size: int,
    side: Literal["source", "text", "both"] = "both",
    context_length: int = 64,
) -> Tokens:
    """Train a tokenizer on the train split of a source: byte pairs (Sennrich et al. 2016, arXiv:1508.07909).

    The units are of UTF-8's bytes (Radford et al. 2019, GPT-2), so no text has unknown parts. Texts are normalized
    (NFC, one space between words). The same texts give the same tokenizer, on every machine: teacher and student that
    name the same source share a vocabulary. A unigram model is not offered, because its training is not deterministic.

    A trained model keeps its tokenizer in its file: to load it, no source is asked.

    Args:
        trained_on: whose training texts; ``null`` where a model is loaded that was trained before.
        vocab_size: V, how many tokens, at least 259. As many must be found: the model's size is this setting's.
        side: ``source`` texts, the ``text`` that is written, or ``both`` in one vocabulary.
        context_length: longer texts are cut to so many tokens, the end among them.

    Raises:
        InputError: a size that the texts do not reach, or no texts.
    """
    if vocab_size < LEAST:
        raise InputError(f"TrainedTokens.vocab_size: {vocab_size} given; give {LEAST} or more: all bytes are tokens.")
    if context_length < 2:
        raise InputError(f"TrainedTokens.context_length: {context_length} given; give 2 or more: one is the end.")
    if trained_on is None:
        return Tokens(f"{UNTRAINED}{side}", vocab_size, context_length, side)
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    texts = list(_texts(trained_on, side))
    if not texts:
        raise InputError(f"TrainedTokens.side: the training samples of {trained_on} have no {side} to train on.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # a first word is as any other
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BEGIN, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    found = tokenizer.get_vocab_size()
    if found < vocab_size:
        raise InputError(
            f"TrainedTokens.vocab_size: {vocab_size} given, but the {len(texts)} texts of {trained_on} give {found} "
            f"tokens. Set {found} or fewer."
        )
    return Tokens(tokenizer.to_str(), vocab_size, context_length, side)


def _texts(source: Source, side: Literal["source", "text", "both"]) -> Iterator[str]:
    for sample in source.samples("train"):
        if side != "text" and sample.source is not None:
            yield sample.source
        if side != "source":
            yield from sample.captions
