"""Triangular filters on the mel scale."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["MelNorm", "MelScale", "hertz", "mel", "mel_bank"]

MelScale = Literal["htk", "slaney"]
MelNorm = Literal["slaney", "sum"]

BREAK_HZ, BREAK_MEL = 1000.0, 15.0  # Slaney's scale: linear below, 27 steps for each factor of 6.4 above
SLANEY_STEP = 27.0 / torch.tensor(6.4, dtype=torch.float64).log().item()


def mel(frequency: Float[Tensor, "*n"], scale: MelScale) -> Float[Tensor, "*n"]:
    """Return frequencies (Hz) on the mel scale.

    Args:
        frequency: Hz.
        scale: ``htk``: 2595 log10(1 + f / 700), which Kaldi uses too; ``slaney``: the Auditory Toolbox's
            (Slaney 1998), 3 f / 200 below 1 kHz and logarithmic above, which librosa uses.
    """
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + frequency / 700.0)
    above = BREAK_MEL + SLANEY_STEP * (frequency.clamp(min=BREAK_HZ) / BREAK_HZ).log()
    return torch.where(frequency < BREAK_HZ, frequency * BREAK_MEL / BREAK_HZ, above)


def hertz(mels: Float[Tensor, "*n"], scale: MelScale) -> Float[Tensor, "*n"]:
    """Return frequencies in Hz: the inverse of :func:`mel`."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    above = BREAK_HZ * ((mels - BREAK_MEL).clamp(min=0) / SLANEY_STEP).exp()
    return torch.where(mels < BREAK_MEL, mels * BREAK_HZ / BREAK_MEL, above)


def mel_bank(
    rate: int,
    n_fft: int,
    mels: int,
    f_min: float | int,
    f_max: float | int,
    scale: MelScale,
    norm: MelNorm | None,
    triangles: Literal["hertz", "mel"],
) -> Float[Tensor, "mels bins"]:
    """Return M triangles, their corners evenly spaced on the mel scale, over the bins of a Fourier transform.

    Args:
        rate: samples a second, Hz.
        n_fft: length of the transform; it has n_fft // 2 + 1 bins.
        mels: M.
        f_min: the first triangle's lower corner, Hz.
        f_max: the last triangle's upper corner, Hz.
        scale: as for :func:`mel`.
        norm: ``slaney`` gives every triangle area 1 over Hz, ``sum`` the sum 1 over the bins; ``None`` the height 1.
        triangles: whether their sides are straight over Hz, or over mels as in Kaldi.

    Returns:
        The filters (M, bins), float32, on the CPU.
    """
    corners = torch.linspace(0, 1, mels + 2, dtype=torch.float64, device="cpu")
    low, high = mel(torch.tensor([f_min, f_max], dtype=torch.float64, device="cpu"), scale)
    corners = low + (high - low) * corners
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64, device="cpu") * rate / n_fft
    if triangles == "hertz":
        corners = hertz(corners, scale)
    else:
        bins = mel(bins, scale)
    widths = corners.diff()[:, None]
    rising = (bins - corners[:-2, None]) / widths[:-1]
    falling = (corners[2:, None] - bins) / widths[1:]
    bank = torch.minimum(rising, falling).clamp(min=0)
    if norm == "slaney":
        edges = corners if triangles == "hertz" else hertz(corners, scale)
        bank = bank * 2 / (edges[2:] - edges[:-2])[:, None]
    elif norm == "sum":
        bank = bank / bank.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return bank.float()
