"""A resonant low-pass filter whose cutoff moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["low_pass"]

FRAME = 512  # samples that are filtered with one cutoff, faded in and out
HOP = FRAME // 2
ROOM = FRAME + HOP  # a frame with what rings on after it
FLAT = 0.7071  # the quality of a filter without a peak


def frame_times(samples: int, rate: int) -> NDArray[np.float32]:
    """Return the middle of each frame of a sound, seconds."""
    return (np.arange(-(-samples // HOP) + 1) * (HOP / rate)).astype(np.float32)


def low_pass(
    samples: NDArray[np.float32], cutoffs: NDArray[np.float32], resonance_db: float | int, rate: int
) -> NDArray[np.float32]:
    """Return a sound through ``H(f) = g / (1 - (f/fc)² + j (f/fc) / Q)``, two poles, 12 dB an octave.

    It is taken frame by frame through the Fourier transform, each frame with its own cutoff.

    Args:
        samples: (T,).
        cutoffs: fc of each of :func:`frame_times`, Hz.
        resonance_db: the peak's height, for which the rest is lowered by half of it (SoundFont 2.04, generator 9).
        rate: samples a second.
    """
    frames = len(cutoffs)
    padded = np.zeros((frames + 1) * HOP, np.float32)
    padded[HOP : HOP + len(samples)] = samples
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)  # two halves add up to 1
    spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP] * window, ROOM)
    gain, quality = 10 ** (-resonance_db / 40), FLAT * 10 ** (resonance_db / 20)
    ratio = np.fft.rfftfreq(ROOM, 1 / rate).astype(np.float32) / cutoffs[:, None]
    below = np.empty(ratio.shape, np.complex64)
    below.real = (1 - ratio * ratio) / gain
    below.imag = ratio / (quality * gain)
    spectra /= below
    parts = np.fft.irfft(spectra, ROOM).reshape(frames, -1, HOP)
    result = np.zeros((frames + parts.shape[1], HOP), np.float32)
    for shift in range(parts.shape[1]):
        result[shift : shift + frames] += parts[:, shift]
    return result.reshape(-1)[HOP : HOP + len(samples)]
