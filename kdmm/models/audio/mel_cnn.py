"""A small convolutional network on log-mel spectrograms: the audio tower that any machine can afford."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.audio.log_mel import LogMel
from kdmm.models.audio.waveform import Fill, Waveform
from kdmm.models.towers.audio import AudioTower

__all__ = ["MelCNN"]


class MelCNN(AudioTower):
    """A small convolutional network over the log-mel spectrogram, cheap on CPUs.

    Batch norm of each mel band, then blocks of 3 x 3 convolution, batch norm, ReLU and 2 x 2 max pooling, then the
    average over the bands and, over time, the highest value plus the average: a small relative of PANNs' CNNs (Kong et
    al. 2020, https://arxiv.org/abs/1912.10211), with their batch norm at the input and their pooling.
    ``[48, 96, 192, 384]`` has 0.10 million parameters if separable and 0.87 if not; ``[64, 128, 256, 512]`` has 0.18
    and 1.55.

    Args:
        channels: one width a block; the last is the tower's.
        seconds: of sound that it hears.
        log_mel: its spectrogram; ``None`` is :class:`kdmm.models.LogMel` with its own settings, at 16 kHz.
        separable: after the first block, filter each channel by itself and then mix them (MobileNets,
            https://arxiv.org/abs/1704.04861), instead of one whole convolution.
        fill: how shorter sounds are filled, as for :class:`kdmm.models.Waveform`.

    Raises:
        InputError: no channels, or more blocks than the spectrogram can be halved.
    """

    def __init__(
        self,
        channels: Sequence[int],
        seconds: float | int,
        log_mel: LogMel | None = None,
        separable: bool = True,
        fill: Fill = "repeat_pad",
    ) -> None:
        super().__init__()
        if not channels or min(channels) < 1:
            raise InputError(f"MelCNN.channels: {list(channels)} given; give one or more, each at least 1.")
        self.log_mel = LogMel() if log_mel is None else log_mel
        self.preprocess = Waveform(self.log_mel.rate, seconds, fill)
        frames = self.log_mel.frames(self.preprocess.length)
        if min(self.log_mel.mels, frames) >> len(channels) < 1:
            raise InputError(
                f"MelCNN.channels: {self.log_mel.mels} bands by {frames} frames are halved {len(channels)} times. Give "
                "fewer channels, more `log_mel.mels`, or more `seconds`."
            )
        self.norm = nn.BatchNorm1d(self.log_mel.mels)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    *_convolution(before, width, separable and before > 1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(2),
                )
                for before, width in zip((1, *channels[:-1]), channels, strict=True)
            )
        )
        self.width = channels[-1]
        self.to(memory_format=torch.channels_last)

    def forward(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode sounds."""
        mel = self.norm(self.log_mel(audio).to(self.norm.weight.dtype))
        maps: Tensor = self.blocks(mel.unsqueeze(1).contiguous(memory_format=torch.channels_last))
        over_time = maps.mean(2)
        return over_time.amax(-1) + over_time.mean(-1)


def _convolution(before: int, width: int, separable: bool) -> list[nn.Module]:
    if not separable:
        return [nn.Conv2d(before, width, 3, padding=1, bias=False)]
    return [
        nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False),
        nn.Conv2d(before, width, 1, bias=False),
    ]
