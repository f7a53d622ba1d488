"""Image networks that look at spectrograms."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.audio.log_mel import LogMel
from kdmm.models.audio.waveform import Fill, Waveform
from kdmm.models.towers.audio import AudioTower
from kdmm.models.towers.timm_trunk import TimmTrunk, check_name

__all__ = ["TimmAudio"]


class TimmAudio(TimmTrunk, AudioTower):
    """Any timm network over the log-mel spectrogram as a picture, its one channel repeated three times.

    Batch norm of each mel band comes first, so weights of pictures meet values of about their own scale. Weights
    learned from pictures help sounds too (Palanisamy et al. 2020, https://arxiv.org/abs/2007.11154).

    Args:
        name: timm's name of the architecture.
        seconds: of sound that it hears.
        log_mel: its spectrogram; ``None`` is :class:`kdmm.models.LogMel` with its own settings, at 16 kHz.
        image_size: height (bands) and width (frames) that the spectrogram is resized to, for networks that read one
            size, such as vision transformers; ``None`` leaves it as it is.
        stages: keep this many of the network's feature stages, as for :class:`kdmm.models.TimmImage`.
        head_width: with ``stages``: a 1 x 1 convolution, batch norm and ReLU of this width before the average.
        weights: as for :class:`kdmm.models.TimmImage`.
        frozen: names of the network's modules that keep the weights given, as for :class:`kdmm.models.TimmImage`.
        fill: how shorter sounds are filled, as for :class:`kdmm.models.Waveform`.

    Raises:
        InputError: unknown name, weights that are missing or do not fit, or a size that the network does not read.
    """

    check_arguments = classmethod(check_name)

    def __init__(
        self,
        name: str,
        seconds: float | int,
        log_mel: LogMel | None = None,
        image_size: tuple[int, int] | None = None,
        stages: int | None = None,
        head_width: int | None = None,
        weights: str | None = None,
        frozen: Sequence[str] = (),
        fill: Fill = "repeat_pad",
    ) -> None:
        super().__init__(name, stages, head_width, weights, frozen)
        self.log_mel = LogMel() if log_mel is None else log_mel
        self.preprocess = Waveform(self.log_mel.rate, seconds, fill)
        self.norm = nn.BatchNorm1d(self.log_mel.mels)
        size = image_size or (self.log_mel.mels, self.log_mel.frames(self.preprocess.length))
        config = self.trunk.pretrained_cfg
        if config.get("fixed_input_size") and size != tuple(config["input_size"][1:]):
            high, wide = config["input_size"][1:]
            raise InputError(
                f"TimmAudio.image_size: {name!r} reads pictures of {high} x {wide} alone, and the spectrogram is "
                f"{size[0]} x {size[1]}; give [{high}, {wide}]."
            )
        self.image_size = image_size

    def forward(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode sounds."""
        picture = self.norm(self.log_mel(audio).to(self.norm.weight.dtype)).unsqueeze(1)
        if self.image_size is not None:
            picture = F.interpolate(picture, self.image_size, mode="bilinear", align_corners=False)
        return self.encode(picture.expand(-1, 3, -1, -1))
