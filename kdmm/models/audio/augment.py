"""Changes to a sound before any model's own preprocessing, so that student and teacher hear the same changed sound.

Each draws from torch's global generator: the same seed gives the same sound. A sound of zeros stays one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip
from kdmm.models.audio.mel_bank import hertz, mel

__all__ = ["FrequencyMask", "Gain", "Noise", "RandomCrop", "TimeMask"]

MASK_FFT = 2048
"""Samples of the transform that bands are cut out in: 128 ms at 16 kHz, 43 ms at 48 kHz."""


@dataclass(frozen=True)
class RandomCrop:
    """A part of the sound, from a random place; a shorter sound stays whole.

    Args:
        seconds: its length.
    """

    seconds: float | int

    def __post_init__(self) -> None:
        _check_length("RandomCrop.seconds", self.seconds)

    def __call__(self, clip: AudioClip) -> AudioClip:
        """Return the part."""
        samples = clip.samples.shape[1]
        wanted = max(1, round(self.seconds * clip.rate))
        if samples <= wanted:
            return clip
        start = int(torch.randint(samples - wanted + 1, ()))
        return replace(clip, samples=clip.samples[:, start : start + wanted])


@dataclass(frozen=True)
class Gain:
    """Louder or softer by a random number of decibels. Nothing is clipped: values beyond full scale stay.

    Args:
        low_db: the least.
        high_db: the most.
    """

    low_db: float | int
    high_db: float | int

    def __post_init__(self) -> None:
        _check_order("Gain", self.low_db, self.high_db)

    def __call__(self, clip: AudioClip) -> AudioClip:
        """Return the changed sound."""
        return replace(clip, samples=clip.samples * 10 ** (_uniform(self.low_db, self.high_db) / 20))


@dataclass(frozen=True)
class Noise:
    """White Gaussian noise, at a random ratio of the sound's power to the noise's, both over the whole sound.

    Args:
        low_snr_db: the least ratio, decibels.
        high_snr_db: the most.
    """

    low_snr_db: float | int
    high_snr_db: float | int

    def __post_init__(self) -> None:
        _check_order("Noise", self.low_snr_db, self.high_snr_db)

    def __call__(self, clip: AudioClip) -> AudioClip:
        """Return the sound in noise."""
        ratio = 10 ** (_uniform(self.low_snr_db, self.high_snr_db) / 10)
        noise = torch.randn(clip.samples.shape)
        power = _power(clip.samples)
        if power == 0:
            return clip
        return replace(clip, samples=clip.samples + noise * math.sqrt(power / ratio / _power(noise)))


@dataclass(frozen=True)
class TimeMask:
    """Silence in random places (SpecAugment, Park et al. 2019, https://arxiv.org/abs/1904.08779, section 2).

    As there, a mask's length is drawn evenly from 0 to the most, then its place from those where it fits. Here it is in
    the sound, whose every spectrogram then shows it.

    Args:
        seconds: the most that one mask is long.
        count: masks; they may overlap.
    """

    seconds: float | int
    count: int = 1

    def __post_init__(self) -> None:
        _check_length("TimeMask.seconds", self.seconds)
        _check_count("TimeMask.count", self.count)

    def __call__(self, clip: AudioClip) -> AudioClip:
        """Return the masked sound."""
        masked = clip.samples.clone()
        samples = masked.shape[1]
        for _ in range(self.count):
            width = round(_uniform(0, min(self.seconds * clip.rate, samples)))
            start = int(torch.randint(samples - width + 1, ()))
            masked[:, start : start + width] = 0
        return replace(clip, samples=masked)


@dataclass(frozen=True)
class FrequencyMask:
    """Bands of frequency without energy (SpecAugment, Park et al. 2019, https://arxiv.org/abs/1904.08779, section 2).

    As there, a band's width is drawn evenly from 0 to the most, then its place from those where it fits, both on the
    mel scale. Here it is taken out of the sound by a short-time Fourier transform, so that every spectrogram shows it.

    Args:
        share: the most that one band takes of the mel scale from 0 to half the rate, 0 to 1.
        count: bands; they may overlap.
    """

    share: float | int
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"FrequencyMask.share: {self.share} given; give more than 0 and at most 1.")
        _check_count("FrequencyMask.count", self.count)

    def __call__(self, clip: AudioClip) -> AudioClip:
        """Return the masked sound."""
        bands = [self._band(clip.rate) for _ in range(self.count)]
        if clip.samples.shape[1] == 0:
            return clip
        window = torch.hann_window(MASK_FFT)
        spectrum = torch.stft(
            clip.samples, MASK_FFT, MASK_FFT // 4, window=window, pad_mode="constant", return_complex=True
        )
        frequency = torch.arange(spectrum.shape[1]) * clip.rate / MASK_FFT
        for low, high in bands:
            spectrum[:, (frequency >= low) & (frequency < high)] = 0
        masked = torch.istft(spectrum, MASK_FFT, MASK_FFT // 4, window=window, length=clip.samples.shape[1])
        return replace(clip, samples=masked)

    def _band(self, rate: int) -> tuple[float, float]:
        top = float(mel(torch.tensor(rate / 2, dtype=torch.float64), "htk"))
        width = _uniform(0, self.share * top)
        low = _uniform(0, top - width)
        corners = hertz(torch.tensor([low, low + width], dtype=torch.float64), "htk")
        return float(corners[0]), float(corners[1])


def _uniform(low: float | int, high: float | int) -> float:
    return low + (high - low) * float(torch.rand((), dtype=torch.float64))


def _power(samples: Float[Tensor, "channels T"]) -> float:
    return float(samples.double().square().sum() / max(1, samples.numel()))


def _check_order(name: str, low: float | int, high: float | int) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"{name}: from {low} to {high} dB given; give two numbers in order.")


def _check_length(setting: str, seconds: float | int) -> None:
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InputError(f"{setting}: {seconds} given; give more than 0.")


def _check_count(setting: str, count: int) -> None:
    if count < 1:
        raise InputError(f"{setting}: {count} given; give 1 or more.")
