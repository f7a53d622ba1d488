"""Towers: one modality in, one feature vector a sample out. A dual encoder projects two of them into one space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import timm
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.models.files import by_order, load_matching, locate, read_state
from kdmm.models.preprocess import (
    ImagePreprocess,
    ImageTransform,
    TextPreprocess,
    TransformerTokens,
    transformers_tokenizer,
)

__all__ = ["BagOfTokens", "ImageTower", "TextTower", "TimmImage", "TransformerText"]

EMBEDDING_STD = 0.02


class ImageTower(nn.Module, ABC):
    """Pictures (N, 3, H, W) to features (N, ``width``)."""

    width: int
    preprocess: ImagePreprocess

    @abstractmethod
    def forward(self, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N width"]:
        """Encode pictures."""


class TextTower(nn.Module, ABC):
    """Token ids (N, T) to features (N, ``width``)."""

    width: int
    preprocess: TextPreprocess

    @abstractmethod
    def forward(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode captions."""


class TimmImage(ImageTower):
    """Any timm network, whole or its first stages, pooled to a vector.

    Args:
        name: timm's name of the architecture.
        image_size: side of the square that the tower reads, pixels.
        stages: keep this many of the network's feature stages (timm's ``feature_info``) and average their last map;
            ``None`` keeps the whole network with its own pooling.
        head_width: with ``stages``: a 1 x 1 convolution, batch norm and ReLU of this width before the average.
        weights: ``timm`` or ``timm:<tag>`` (timm's own download), a path, or ``package:<module>/<path>``. A file of the
            whole network serves a part of it. Names of another port of the same network are accepted when all shapes
            agree in order.
        frozen: names of the network's modules that keep the weights given and are not trained, from the input on, such
            as ``[conv_stem, bn1, blocks.0]``.

    Raises:
        InputError: unknown name, or weights that are missing or do not fit.
    """

    def __init__(
        self,
        name: str,
        image_size: int = 224,
        stages: int | None = None,
        head_width: int | None = None,
        weights: str | None = None,
        frozen: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise InputError(f"TimmImage.name: timm has no model {name!r}." + nearest(name, timm.list_models()))
        if stages is None and head_width is not None:
            raise InputError(
                f"TimmImage.head_width: {head_width} given, but a head needs `stages`, the number to keep."
            )
        if frozen and weights is None:
            raise InputError(f"TimmImage.frozen: {list(frozen)} need `weights`; random layers must be trained.")
        self.trunk = timm.create_model(name, pretrained=False, num_classes=0)
        self.width = int(self.trunk.num_features)
        config = timm.data.resolve_model_data_config(self.trunk)
        self.indices: list[int] | None = None
        if stages is not None:
            known = len(self.trunk.feature_info)
            if not 1 <= stages <= known:
                raise InputError(f"TimmImage.stages: {stages} given, {name!r} has 1 to {known} stages.")
            self.width = int(self.trunk.feature_info[stages - 1]["num_chs"])
            self.indices = list(self.trunk.prune_intermediate_layers([stages - 1], prune_norm=True, prune_head=True))
        if weights is not None:
            self._load(name, weights)
        self.frozen = tuple(frozen)
        modules = dict(self.trunk.named_modules())
        for part in self.frozen:
            if part not in modules:
                raise InputError(f"TimmImage.frozen: {name!r} has no module {part!r}." + nearest(part, modules))
            modules[part].requires_grad_(False)
        self.head: nn.Module = nn.Identity()
        if stages is not None:
            layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten(1)]
            if head_width is not None:
                conv = nn.Conv2d(self.width, head_width, 1, bias=False)
                layers = [conv, nn.BatchNorm2d(head_width), nn.ReLU(), *layers]
                self.width = head_width
            self.head = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # twice as fast as the default on CPUs, and what tensor cores want
        self.preprocess = ImageTransform(image_size, tuple(config["mean"]), tuple(config["std"]))

    def _load(self, name: str, weights: str) -> None:
        if weights == "timm" or weights.startswith("timm:"):
            tag = weights.partition(":")[2]
            try:
                whole = timm.create_model(f"{name}.{tag}" if tag else name, pretrained=True)
            except (RuntimeError, OSError, ValueError) as error:
                raise InputError(
                    f"TimmImage.weights: {weights!r} of {name!r} could not be fetched ({error}). "
                    "Give the path of a downloaded file instead."
                ) from error
            state = whole.state_dict()
        else:
            state = read_state(weights)
            whole = timm.create_model(name, pretrained=False)
            if not set(state) & set(whole.state_dict()):
                state = by_order(state, whole) or state
        load_matching(self.trunk, state, weights)

    def train(self, mode: bool = True) -> TimmImage:
        """Set the mode; frozen modules stay in evaluation mode, so that their batch statistics do not move."""
        super().train(mode)
        for part in self.frozen:
            self.trunk.get_submodule(part).eval()
        return self

    def forward(self, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N width"]:
        """Encode pictures."""
        image = image.contiguous(memory_format=torch.channels_last)
        if self.indices is None:
            features = self.trunk(image)
        else:
            features = self.trunk.forward_intermediates(image, indices=self.indices, intermediates_only=True)[-1]
        encoded: Tensor = self.head(features)
        return encoded


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
