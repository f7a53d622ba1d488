"""From a recording to what an audio model reads: one channel, one rate, one length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip

__all__ = ["Fill", "Waveform"]

MARGIN_S = 0.1
"""Kept beyond the cut until after resampling, so that the filter (some 10 ms long) meets sound there and no edge."""

Fill = Literal["repeat_pad", "repeat", "pad"]


@dataclass(frozen=True)
class Waveform:
    """The mean of the channels, resampled (soxr, high quality), and cut or filled to one length.

    Args:
        rate: samples a second, Hz.
        seconds: the length; of longer sounds the beginning is taken.
        fill: how shorter sounds reach it: ``repeat_pad`` repeats the whole sound as often as it fits, then adds zeros
            (CLAP, https://arxiv.org/abs/2211.06687); ``repeat`` cuts the last repetition; ``pad`` adds zeros alone.

    Raises:
        InputError: a setting that is no length or rate; when called, a sound that is empty or not finite.
    """

    rate: int
    seconds: float | int
    fill: Fill = "repeat_pad"

    def __post_init__(self) -> None:
        if self.rate < 1:
            raise InputError(f"Waveform.rate: {self.rate} Hz given; give at least 1.")
        if not (self.seconds > 0 and math.isfinite(self.seconds) and self.length >= 1):
            raise InputError(f"Waveform.seconds: {self.seconds} given; give a time of one sample or more.")

    @property
    def length(self) -> int:
        """T, in samples."""
        return round(self.rate * self.seconds)

    def __call__(self, clip: AudioClip) -> Float[Tensor, "T"]:
        """Return the sound as T samples."""
        if clip.samples.numel() == 0:
            raise InputError("the sound is empty")
        samples = clip.samples[:, : math.ceil(clip.rate * (self.seconds + MARGIN_S))]
        if not torch.isfinite(samples).all():
            raise InputError("the sound holds values that are not finite")
        mono = _resampled(samples.float().mean(0), clip.rate, self.rate)
        if len(mono) == 0:
            raise InputError(f"the sound is shorter than one sample at {self.rate} Hz")
        return self._filled(mono[: self.length])

    def _filled(self, mono: Float[Tensor, "t"]) -> Float[Tensor, "T"]:
        if self.fill == "repeat":
            return mono.repeat(-(-self.length // len(mono)))[: self.length].contiguous()
        if self.fill == "repeat_pad":
            mono = mono.repeat(self.length // len(mono))
        return torch.nn.functional.pad(mono, (0, self.length - len(mono)))


def _resampled(mono: Float[Tensor, "t"], rate: int, wanted: int) -> Float[Tensor, "_"]:
    if rate == wanted:
        return mono
    try:
        import soxr
    except ImportError as error:
        raise InputError(
            f"Waveform.rate: {wanted} Hz are asked for and a sound has {rate}. Resampling needs soxr: "
            "pip install 'kdmm[audio]'."
        ) from error
    return torch.from_numpy(soxr.resample(mono.numpy(), rate, wanted, quality="HQ"))
