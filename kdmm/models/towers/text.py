"""Text towers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.files import locate
from kdmm.models.named_tokens import TransformerTokens, transformers_tokenizer
from kdmm.models.preprocess import TextPreprocess
from kdmm.models.taps import TapPoint
from kdmm.models.towers.attention_scores import WITH_SCORES, set_attention
from kdmm.models.towers.principal_embeddings import EMBEDDING_STD, principal_embeddings

__all__ = ["BagOfTokens", "TextTower", "TransformerText"]


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

    Its inside can be tapped (:class:`kdmm.models.Tapped`), with ``valid/<tap>`` (B, T) for the tokens that are no
    padding: ``states.<i>``, the hidden states (N, T, width) after layer i of L, those of the embeddings for 0; and
    ``scores.<i>``, the scores (N, heads, T, T) of layer i's attention before the softmax, from 0 to L - 1. The scores
    cost time, and are computed only where they are tapped.

    Args:
        name: a hub name, a folder, or ``package:<module>/<folder>``.
        pooling: ``mean`` over the tokens that are not padding, ``cls`` the first token.
        context_length: longer captions are cut to this many tokens.
        weights: ``pretrained`` loads the folder's or hub's weights; ``None`` builds the architecture with random ones.
        layers: keep the first so many layers only; ``None`` keeps all.
        width: of the hidden states, with the layers' inner width in the same ratio; ``None``: as the folder says.
            Another width has no pretrained weights.
        heads: of the attention, a divisor of the width; ``None``: as the folder says.

    Raises:
        InputError: there is no such model, or no such width.
    """

    def __init__(
        self,
        name: str,
        pooling: Literal["mean", "cls"] = "mean",
        context_length: int = 64,
        weights: Literal["pretrained"] | None = "pretrained",
        layers: int | None = None,
        width: int | None = None,
        heads: int | None = None,
    ) -> None:
        super().__init__()
        if weights is not None and (width, heads) != (None, None):
            raise InputError(
                f"TransformerText.width and heads: {width} and {heads} given, and `weights: {weights}` has its own. "
                "Set `weights` to null; `kdmm.models.Inherited` takes weights over."
            )
        from transformers import AutoConfig, AutoModel
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a bar of its own for reading one file
        try:
            config = AutoConfig.from_pretrained(str(locate(name)), trust_remote_code=False)
            _resize(config, layers, width, heads)
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
        self._attention = str(self.trunk.config._attn_implementation)
        self.states = nn.ModuleList(TapPoint() for _ in range(config.num_hidden_layers + 1))
        self.scores = nn.ModuleList(TapPoint() for _ in range(config.num_hidden_layers))

    def forward(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode captions."""
        mask = text != self.pad_id
        hidden = self.token_states(text)
        if self.pooling == "mean":
            weight = mask.unsqueeze(-1).to(hidden.dtype)
            hidden = (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)
        else:
            hidden = hidden[:, 0]
        pooled: Tensor = hidden
        return pooled

    def token_states(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N T width"]:
        """Return the last hidden states, and let the taps see what they want."""
        mask = text != self.pad_id
        wanted = {
            "hidden_states": any(point.is_tapped for point in self.states),
            "attentions": any(point.is_tapped for point in self.scores),
        }
        set_attention(self.trunk, WITH_SCORES if wanted["attentions"] else self._attention)
        asked = {f"output_{name}": True for name, is_wanted in wanted.items() if is_wanted}
        found = self.trunk(input_ids=text, attention_mask=mask.long(), **asked)
        for name, points in (("hidden_states", self.states), ("attentions", self.scores)):
            if wanted[name]:
                for point, activation in zip(points, getattr(found, name), strict=True):
                    point(activation, mask)
        hidden: Tensor = found.last_hidden_state
        return hidden


def _resize(config: Any, layers: int | None, width: int | None, heads: int | None) -> None:
    """Set what is given in a config of transformers."""
    if layers is not None:
        config.num_hidden_layers = layers
    if heads is not None:
        config.num_attention_heads = heads
    if width is not None:
        config.intermediate_size = width * config.intermediate_size // config.hidden_size
        config.hidden_size = width
    if config.hidden_size % config.num_attention_heads:
        raise InputError(
            f"TransformerText.heads: {config.num_attention_heads} heads do not divide the width {config.hidden_size}. "
            "Set `heads` or `width`."
        )


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
            inherited = principal_embeddings(weights, len(vocabulary), embedding_width, "BagOfTokens.weights")
            self.embedding.weight.data.copy_(inherited)
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
