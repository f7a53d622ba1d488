"""Audio encoders of transformers that look at a spectrogram patch by patch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.models.audio.front_ends import AstLogMel
from kdmm.models.audio.pretrained import load_pretrained, unreadable
from kdmm.models.audio.waveform import Waveform
from kdmm.models.files import locate
from kdmm.models.towers.audio import AudioTower

__all__ = ["TransformersAudio"]


class TransformersAudio(AudioTower):
    """An Audio Spectrogram Transformer (AST, Gong et al. 2021, https://arxiv.org/abs/2104.01778).

    It hears as many frames, 10 ms apart, as its config's ``max_length`` says: 10.2 s of 1,024. Where a sound ends
    earlier, the frames after it are filled as in transformers' ``ASTFeatureExtractor``. The end is behind the last
    sample that is not zero: digital silence at the end of a recording counts as filling, which is not so in
    transformers.

    Args:
        name: a hub name, a folder, or ``package:<module>/<folder>``, with the extractor's ``preprocessor_config.json``.
        settings: in the place of a name: those of ``transformers.ASTConfig`` that differ from its defaults, such as
            ``{hidden_size: 192, num_hidden_layers: 4, num_attention_heads: 3, intermediate_size: 768}``, for random
            weights.
        weights: ``pretrained`` loads those of ``name``; ``None`` builds its architecture with random ones.

    Raises:
        InputError: both or none of ``name`` and ``settings``, a setting that AST has not, or no such model.
    """

    def __init__(
        self,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        weights: Literal["pretrained"] | None = "pretrained",
    ) -> None:
        super().__init__()
        from transformers import ASTModel

        if (name is None) == (settings is None):
            raise InputError("TransformersAudio: give `name`, or else `settings`, one of the two.")
        if name is not None:
            config, sound = _read(name)
            self.trunk = load_pretrained(ASTModel, name, config, weights, "TransformersAudio.name")
        else:
            config, sound = _config(settings or {}), {}
            self.trunk = ASTModel(config)
        self.log_mel = AstLogMel(mels=config.num_mel_bins, **sound)
        self.max_length = int(config.max_length)
        self.width = int(config.hidden_size)
        samples = (self.max_length - 1) * self.log_mel.hop + self.log_mel.window_length
        self.preprocess = Waveform(self.log_mel.rate, samples / self.log_mel.rate, "pad")

    def forward(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode sounds: the mean of what the class token and the distillation token become."""
        frames = self._frames(audio).to(next(self.trunk.parameters()).dtype)
        pooled: Tensor = self.trunk(input_values=frames).pooler_output
        return pooled

    def _frames(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N max_length M"]:
        mel = self.log_mel(audio).transpose(1, 2)[:, : self.max_length]
        mel = F.pad(mel, (0, 0, 0, self.max_length - mel.shape[1]))
        place = torch.arange(1, audio.shape[1] + 1, device=audio.device)
        ends = ((audio != 0) * place).amax(1)
        sounding = (ends - self.log_mel.window_length) // self.log_mel.hop + 1  # frames that lie inside the sound
        after = torch.arange(self.max_length, device=audio.device) >= sounding[:, None]
        filling = -self.log_mel.mean / self.log_mel.std  # zeros, normalized like the rest
        return mel.masked_fill(after.unsqueeze(-1), filling)


def _read(name: str) -> tuple[Any, dict[str, Any]]:
    from transformers import ASTConfig, ASTFeatureExtractor, AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(locate(name)), trust_remote_code=False)
        with warnings.catch_warnings():  # it makes filters of its own, of which the lowest are empty in every AST
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
            extractor = ASTFeatureExtractor.from_pretrained(str(locate(name)))
    except (OSError, ValueError) as error:
        raise unreadable("TransformersAudio.name", name, "an AST and its feature extractor", error) from error
    if config.model_type != ASTConfig.model_type:
        raise InputError(
            f"TransformersAudio.name: {name!r} holds a model of type {config.model_type!r}; it reads "
            f"{ASTConfig.model_type!r}. For CLAP's audio encoder take `kdmm.models.ClapAudio`."
        )
    mean, std = (extractor.mean, extractor.std) if extractor.do_normalize else (0.0, 0.5)
    return config, {"rate": extractor.sampling_rate, "mean": mean, "std": std}


def _config(settings: Mapping[str, Any]) -> Any:
    from transformers import ASTConfig

    known = ASTConfig().to_dict()
    for each in settings:
        if each not in known:
            raise InputError(f"TransformersAudio.settings: ASTConfig has no {each!r}." + nearest(each, known))
    return ASTConfig(**settings)
