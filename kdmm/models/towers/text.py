"""Text towers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.files import locate
from kdmm.models.preprocess import TextPreprocess, TransformerTokens, transformers_tokenizer

__all__ = ["BagOfTokens", "TextTower", "TransformerText"]

EMBEDDING_STD = 0.02


class TextTower(nn.Module, ABC):
    """Token ids (N, T) to features (N, ``width``)."""

    modality: ClassVar[str] = "text"
    width: int
    preprocess: TextPreprocess

    @abstractmethod
    def forward(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode captions."""


class TransformerText(TextTower):
    """Any transformers text encoder.

    Args:
        name: a hub name, a folder, or ``package:<module>/<folder>``.
        pooling: ``mean`` over the tokens that are not padding, ``cls`` the first token.
        context_length: longer captions are cut to this many tokens.
        weights: ``pretrained`` loads the folder's or hub's weights; ``None`` builds the architecture with random ones.
        layers: keep the first so many layers only; ``None`` keeps all.
    """

    def __init__(
        self,
        name: str,
        pooling: Literal["mean", "cls"] = "mean",
        context_length: int = 64,
        weights: Literal["pretrained"] | None = "pretrained",
        layers: int | None = None,
    ) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a bar of its own for reading one file
        try:
            config = AutoConfig.from_pretrained(str(locate(name)), trust_remote_code=False)
            if layers is not None:
                config.num_hidden_layers = layers
            if weights is None:
                self.trunk = AutoModel.from_config(config, trust_remote_code=False)
            else:
                self.trunk = AutoModel.from_pretrained(
                    str(locate(name)), config=config, dtype=torch.float32, trust_remote_code=False
                )
        except (OSError, ValueError) as error:
            raise InputError(
                f"TransformerText.name: {name!r} is neither a folder with a transformers model nor a hub name that "
                f"could be fetched ({str(error).strip().splitlines()[0]})."
            ) from error
        if (
            getattr(self.trunk, "pooler", None) is not None
        ):  # transformers' own optional head, which no pooling here reads
            self.trunk.pooler = None
        self.pooling = pooling
        self.width = int(config.hidden_size)
        self.pad_id = int(transformers_tokenizer(name).pad_token_id)
        self.preprocess = TransformerTokens(name, context_length)

    def forward(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode captions."""
        mask = text != self.pad_id
        hidden = self.trunk(input_ids=text, attention_mask=mask.long()).last_hidden_state
        if self.pooling == "mean":
            weight = mask.unsqueeze(-1).to(hidden.dtype)
            hidden = (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)
        else:
            hidden = hidden[:, 0]
        pooled: Tensor = hidden
        return pooled


class BagOfTokens(TextTower):
    """The mean of token embeddings through a small perceptron: the smallest useful text tower.

    Args:
        tokenizer: a transformers tokenizer: hub name, folder, or ``package:<module>/<folder>``.
        embedding_width: E, the width of one token's embedding.
        hidden_width: of the perceptron; ``None`` leaves it out.
        context_length: longer captions are cut to this many tokens.
        weights: a transformers model with the same vocabulary whose word embeddings are inherited, reduced to E
            dimensions by principal components; ``None`` starts at random. Both start at a standard deviation of 0.02,
            BERT's: at PyTorch's default of 1 the table hardly moves in a short run.
    """

    def __init__(
        self,
        tokenizer: str,
        embedding_width: int = 64,
        hidden_width: int | None = None,
        context_length: int = 32,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        vocabulary = transformers_tokenizer(tokenizer)
        self.register_buffer(
            "special", torch.tensor(sorted(vocabulary.all_special_ids), dtype=torch.long), persistent=False
        )
        self.embedding = nn.Embedding(len(vocabulary), embedding_width)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        if weights is not None:
            self.embedding.weight.data.copy_(_principal_embeddings(weights, len(vocabulary), embedding_width))
        self.width = embedding_width if hidden_width is None else hidden_width
        self.perceptron: nn.Module = nn.Identity()
        if hidden_width is not None:
            self.perceptron = nn.Sequential(
                nn.LayerNorm(embedding_width), nn.Linear(embedding_width, hidden_width), nn.GELU()
            )
        self.preprocess = TransformerTokens(tokenizer, context_length)

    def forward(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode captions."""
        special = self.get_buffer("special")
        weight = (~torch.isin(text, special)).unsqueeze(-1).to(self.embedding.weight.dtype)
        mean = (self.embedding(text) * weight).sum(1) / weight.sum(1).clamp_min(1)
        encoded: Tensor = self.perceptron(mean)
        return encoded


def _principal_embeddings(name: str, rows: int, width: int) -> Float[Tensor, "rows width"]:
    """Return a model's word embeddings in their first ``width`` principal components, scaled to ``EMBEDDING_STD``."""
    from transformers import AutoModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModel.from_pretrained(str(locate(name)), dtype=torch.float32, trust_remote_code=False)
    table = model.get_input_embeddings().weight.detach()
    if len(table) < rows:
        raise InputError(
            f"BagOfTokens.weights: {name!r} has {len(table)} tokens, the tokenizer {rows}. "
            "Take the same model's tokenizer."
        )
    centred = (table[:rows] - table[:rows].mean(0)).double()
    _, directions = torch.linalg.eigh(centred.T @ centred)  # ascending: the last columns carry the most variance
    reduced = centred @ directions[:, -width:].flip(1)
    # A principal direction's sign is arbitrary and differs between machines: make each one's largest entry positive.
    largest = directions[:, -width:].flip(1).abs().argmax(0)
    reduced = reduced * directions[:, -width:].flip(1).gather(0, largest[None]).sign()
    scaled: Tensor = (reduced * EMBEDDING_STD / reduced.std()).float()
    return scaled
