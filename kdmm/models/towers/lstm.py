"""A recurrent text tower."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from kdmm.errors import InputError
from kdmm.models.named_tokens import TransformerTokens, transformers_tokenizer
from kdmm.models.preprocess import TextPreprocess
from kdmm.models.tokens import KeptTokens, TextTokens
from kdmm.models.towers.principal_embeddings import EMBEDDING_STD, principal_embeddings
from kdmm.models.towers.text import TextTower

__all__ = ["LstmText"]


class LstmText(TextTower):
    """A bidirectional LSTM over token embeddings; the features are the last states of its two directions.

    The student of Tang et al. 2019 (https://arxiv.org/abs/1903.12136), which learns BERT's logits (`LogitMSE`); we
    differ in subwords in the place of word2vec's words, and leave their further hidden layer to ``Classifier``. Each
    text is read to its own end, so that padding changes nothing; one without a token has features of 0.

    Args:
        tokenizer: a transformers tokenizer (hub name, folder, or ``package:<module>/<folder>``), or one trained for the
            data (:class:`kdmm.data.TrainedTokens`), which is kept in the model's file.
        embedding_width: E, the width of one token's embedding: the vocabulary times E is most of such a model.
        hidden_width: H, of the states of one direction; the features are twice as wide.
        layers: of LSTM, one upon the other.
        context_length: longer captions are cut to this many tokens; a trained tokenizer has its own.
        dropout: of the embeddings, and between layers.
        weights: a transformers model with the same vocabulary whose word embeddings are inherited, reduced to E
            dimensions by principal components; ``None`` starts at random.

    Raises:
        InputError: a width or a number of layers below 1, or weights of another vocabulary.
    """

    def __init__(
        self,
        tokenizer: str | TextTokens,
        embedding_width: int = 64,
        hidden_width: int = 64,
        layers: int = 1,
        context_length: int = 64,
        dropout: float | int = 0.0,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        for setting, value in (
            ("embedding_width", embedding_width),
            ("hidden_width", hidden_width),
            ("layers", layers),
        ):
            if value < 1:
                raise InputError(f"LstmText.{setting}: {value} given; give 1 or more.")
        self.context_length = context_length
        self.named: str | None = tokenizer if isinstance(tokenizer, str) else None
        if isinstance(tokenizer, str):
            known = transformers_tokenizer(tokenizer)
            size, self.pad_id = len(known), int(known.pad_token_id)
        else:
            self.kept = KeptTokens(tokenizer)
            size, self.pad_id = tokenizer.size, tokenizer.pad
        self.embedding = nn.Embedding(size, embedding_width)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        if weights is not None:
            inherited = principal_embeddings(weights, size, embedding_width, "LstmText.weights")
            self.embedding.weight.data.copy_(inherited)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            embedding_width,
            hidden_width,
            layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,  # PyTorch warns of one that has no effect
        )
        self.width = 2 * hidden_width

    @property
    def preprocess(self) -> TextPreprocess:  # type: ignore[override]  # a loaded state brings a trained tokenizer
        """The tokenizer."""
        return self.kept.tokens if self.named is None else TransformerTokens(self.named, self.context_length)

    def forward(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode captions."""
        text, mask = _to_the_left(text, text != self.pad_id)
        lengths = mask.sum(1)
        packed = pack_padded_sequence(
            self.dropout(self.embedding(text)),
            lengths.clamp_min(1).cpu(),  # PyTorch asks for it there
            batch_first=True,
            enforce_sorted=False,
        )
        _, (last, _) = self.lstm(packed)
        features: Tensor = torch.cat([last[-2], last[-1]], 1)
        return features * (lengths > 0).unsqueeze(1)


def _to_the_left(text: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> tuple[Tensor, Tensor]:
    """Return token ids and mask with the padding behind the tokens, wherever a tokenizer puts it."""
    order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
    return text.gather(1, order), mask.gather(1, order)
