"""CLAP, which puts sounds and texts into one space, and its two towers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.models.audio.front_ends import ClapLogMel
from kdmm.models.audio.pretrained import load_pretrained, unreadable
from kdmm.models.audio.waveform import Fill, Waveform
from kdmm.models.files import locate
from kdmm.models.named_tokens import TransformerTokens, transformers_tokenizer
from kdmm.models.shared_space import SharedSpace
from kdmm.models.towers import AudioTower, TextTower

__all__ = ["Clap", "ClapAudio", "ClapText"]

FILLS: dict[str, Fill] = {"repeatpad": "repeat_pad", "repeat": "repeat", "pad": "pad"}
TRAINED_LENGTH = 77  # tokens a text, in the training of the published models


class _ClapAudio(AudioTower):
    def __init__(self, whole: Any, name: str, owner: str) -> None:
        super().__init__()
        extractor = _extractor(name, owner)
        self.fused = bool(whole.config.audio_config.enable_fusion)
        if self.fused != (extractor.truncation == "fusion"):
            raise InputError(
                f"{owner}.name: the config of {name!r} has `enable_fusion` {self.fused}, but its feature extractor has "
                f"`truncation` {extractor.truncation!r}. Give 'fusion' to models that fuse, and 'rand_trunc' to others."
            )
        if extractor.padding not in FILLS:
            raise InputError(
                f"{owner}.name: the feature extractor of {name!r} has `padding` {extractor.padding!r}; kdmm knows "
                f"{', '.join(FILLS)}." + nearest(str(extractor.padding), FILLS)
            )
        self.trunk, self.projection = whole.audio_model, whole.audio_projection
        if self.fused:
            patches = self.trunk.audio_encoder.patch_embed
            for idle in (patches.fusion_model, patches.mel_conv2d):
                idle.requires_grad_(False)
        self.width = int(whole.config.projection_dim)
        self.log_mel = ClapLogMel(
            self.fused,
            extractor.sampling_rate,
            extractor.fft_window_size,
            extractor.hop_length,
            extractor.feature_size,
            extractor.frequency_min,
            extractor.frequency_max,
        )
        self.preprocess = Waveform(extractor.sampling_rate, extractor.max_length_s, FILLS[extractor.padding])

    def forward(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        picture = self.log_mel(audio).transpose(1, 2).unsqueeze(1).to(next(self.trunk.parameters()).dtype)
        # A model that fuses looks at further pictures of longer sounds only.
        longer = torch.zeros(len(picture), 1, dtype=torch.bool, device=picture.device) if self.fused else None
        projected: Tensor = self.projection(self.trunk(input_features=picture, is_longer=longer).pooler_output)
        return projected


class _ClapText(TextTower):
    def __init__(self, whole: Any, name: str, owner: str) -> None:
        super().__init__()
        try:
            tokenizer = transformers_tokenizer(name)
        except (OSError, ValueError) as error:
            raise unreadable(f"{owner}.name", name, "a tokenizer", error) from error
        if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes of a folder without a vocabulary
            raise InputError(
                f"{owner}.name: {name!r} has no tokenizer. Give a folder with tokenizer.json or vocab.json."
            )
        self.pad_id = int(tokenizer.pad_token_id)
        self.trunk, self.projection = whole.text_model, whole.text_projection
        self.width = int(whole.config.projection_dim)
        self.preprocess = TransformerTokens(name, TRAINED_LENGTH)

    def forward(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        pooled = self.trunk(input_ids=text, attention_mask=(text != self.pad_id).long()).pooler_output
        projected: Tensor = self.projection(pooled)
        return projected


def ClapAudio(name: str, weights: Literal["pretrained"] | None = "pretrained") -> AudioTower:  # noqa: N802  a tower
    """Build the audio encoder of a CLAP model, HTS-AT (https://arxiv.org/abs/2202.00874), with its projection.

    Of sounds longer than it hears, 10 s, it takes the beginning. In transformers a model without fusion takes a random
    part, and one with fusion three random parts and a summary; the weights for these are kept, but are not trained.
    Sounds of 10 s and less are read as in transformers, except that with fusion its extractor calls one random sound of
    a batch longer where none is.

    Args:
        name: a hub name, a folder, or ``package:<module>/<folder>``, with ``preprocessor_config.json``.
        weights: ``pretrained`` loads the folder's or hub's weights; ``None`` builds the architecture with random ones.

    Raises:
        InputError: no such model, or weights that are not all there.
    """
    return _ClapAudio(_whole(name, weights, "ClapAudio"), name, "ClapAudio")


def ClapText(name: str, weights: Literal["pretrained"] | None = "pretrained") -> TextTower:  # noqa: N802  as above
    """Build the text encoder of a CLAP model, RoBERTa, with its projection. It reads 77 tokens, as in its training.

    Args:
        name: a hub name, a folder, or ``package:<module>/<folder>``, with a tokenizer.
        weights: ``pretrained`` loads the folder's or hub's weights; ``None`` builds the architecture with random ones.

    Raises:
        InputError: no such model, or weights that are not all there.
    """
    return _ClapText(_whole(name, weights, "ClapText"), name, "ClapText")


def Clap(  # noqa: N802  a model to its users, who write it beside SharedSpace in YAML
    name: str, weights: Literal["pretrained"] | None = "pretrained", freeze: Sequence[str] = ()
) -> SharedSpace:
    """Build a CLAP model of transformers (Wu et al. 2022, https://arxiv.org/abs/2211.06687).

    CLAP has two scales. ``logit_scale`` is ``logit_scale_a``, by which transformers multiplies ``logits_per_audio``:
    with a sound in each row, these are what a sound is recognised by. ``logit_scale_t`` is left out.

    Args:
        name: a hub name such as ``laion/clap-htsat-unfused``, a folder, or ``package:<module>/<folder>``, with the
            extractor's ``preprocessor_config.json`` and a tokenizer. With fusion or without; see ``ClapAudio`` for what
            is done about long sounds.
        weights: ``pretrained`` loads the folder's or hub's weights; ``None`` builds the architecture with random ones.
        freeze: towers that are not trained, ``audio`` or ``text``.

    Raises:
        InputError: no such model, or weights that are not all there.
    """
    whole = _whole(name, weights, "Clap")
    space = SharedSpace(
        {"audio": _ClapAudio(whole, name, "Clap"), "text": _ClapText(whole, name, "Clap")},
        freeze=freeze,
        weights_from=None if weights is None else name,
    )
    space.log_logit_scale.data.copy_(whole.logit_scale_a.data)
    return space


Clap.gives = frozenset({"audio", "text", "logit_scale"})  # type: ignore[attr-defined]  # read before anything is built


def _whole(name: str, weights: Literal["pretrained"] | None, owner: str) -> Any:
    from transformers import AutoConfig, ClapConfig, ClapModel

    try:
        config = AutoConfig.from_pretrained(str(locate(name)), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise unreadable(f"{owner}.name", name, "a CLAP model", error) from error
    if config.model_type != ClapConfig.model_type:
        raise InputError(
            f"{owner}.name: {name!r} holds a model of type {config.model_type!r}, not {ClapConfig.model_type!r}. For "
            "an Audio Spectrogram Transformer take `kdmm.models.TransformersAudio`."
        )
    return load_pretrained(ClapModel, name, config, weights, f"{owner}.name")


def _extractor(name: str, owner: str) -> Any:
    from transformers import ClapFeatureExtractor

    try:
        return ClapFeatureExtractor.from_pretrained(str(locate(name)))
    except (OSError, ValueError) as error:
        raise unreadable(f"{owner}.name", name, "a CLAP feature extractor", error) from error
