"""Log-mel spectrograms, computed where the model is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.audio.mel_bank import MelNorm, MelScale, mel_bank

__all__ = ["LogMel"]


class LogMel(nn.Module):
    """Waveforms (N, T) to log-mel spectrograms (N, M, frames), in float32 whatever the precision around it.

    Frame by frame: window, Fourier transform, magnitude to the ``power``, triangular filters, logarithm; then
    (x - ``mean``) / ``std``. It has no weights, and its tables are no part of a checkpoint. The defaults are those of
    PANNs at 16 kHz (Kong et al. 2020, https://arxiv.org/abs/1912.10211). ``ClapLogMel``, ``AstLogMel``,
    ``WhisperLogMel`` and ``LibrosaLogMel`` are what those packages compute. Where those compute in
    float64, float32 shows beside a pure tone: bands 60 dB below it and fainter differ by up to 0.2 dB.

    Args:
        rate: samples a second of what it reads, Hz.
        n_fft: length of the Fourier transform, samples.
        hop: from one frame to the next, samples.
        mels: M, the number of filters.
        window_length: samples; ``None`` takes ``n_fft``.
        window: ``hann`` is periodic, ``hann_symmetric`` ends as it begins.
        centre: frame k is centred on sample k * ``hop``, and the sound is padded by half a transform at both ends. Else
            frame k begins at that sample, all frames lie inside the sound, and zeros follow the window (Kaldi).
        padding: with what ``centre`` pads.
        f_min: lowest frequency of the filters, Hz.
        f_max: their highest; ``None`` is half the rate.
        scale: the mel scale, as for ``mel_bank``.
        norm: of the filters, as for ``mel_bank``.
        triangles: whether the filters are triangles over ``hertz`` or over ``mel``.
        power: 2 for power, 1 for magnitude.
        log: ``db`` (decibels), ``log`` (natural), ``log10``, or ``log10_1p``: log10(1 + 10000 x), as in MusiCNN.
        floor: smaller values are raised to it before the logarithm.
        top: values further than this below a spectrogram's highest are raised to there, in the logarithm's units.
        mean: subtracted from the logarithm.
        std: divides what is left.
        preemphasis: a share of each sample's predecessor that is subtracted from it, frame by frame.
        remove_dc: subtract each frame's mean first.
        last_frame: false leaves the last frame out.

    Raises:
        InputError: settings that contradict each other; when called, sounds shorter than a frame.
    """

    def __init__(
        self,
        rate: int = 16_000,
        n_fft: int = 512,
        hop: int = 160,
        mels: int = 64,
        window_length: int | None = None,
        window: Literal["hann", "hann_symmetric"] = "hann",
        centre: bool = True,
        padding: Literal["reflect", "zeros"] = "reflect",
        f_min: float | int = 50.0,
        f_max: float | int | None = None,
        scale: MelScale = "slaney",
        norm: MelNorm | None = "slaney",
        triangles: Literal["hertz", "mel"] = "hertz",
        power: Literal[1, 2] = 2,
        log: Literal["db", "log", "log10", "log10_1p"] = "db",
        floor: float | int = 1e-10,
        top: float | int | None = None,
        mean: float | int = 0.0,
        std: float | int = 1.0,
        preemphasis: float | int = 0.0,
        remove_dc: bool = False,
        last_frame: bool = True,
    ) -> None:
        super().__init__()
        self.rate, self.n_fft, self.hop, self.mels = rate, n_fft, hop, mels
        self.window_length = n_fft if window_length is None else window_length
        self.symmetric = window == "hann_symmetric"
        self.centre, self.padding = centre, {"reflect": "reflect", "zeros": "constant"}[padding]
        self.f_min, self.f_max = f_min, rate / 2 if f_max is None else f_max
        for name, value in {"rate": rate, "n_fft": n_fft, "hop": hop, "mels": mels, "std": std, "floor": floor}.items():
            if value <= 0:
                raise InputError(f"LogMel.{name}: {value} given; give more than 0.")
        if not 1 < self.window_length <= n_fft:
            raise InputError(f"LogMel.window_length: {window_length} given; give 2 to `n_fft`, {n_fft} samples.")
        if not 0 <= f_min < self.f_max <= rate / 2:
            raise InputError(
                f"LogMel.f_max: the filters go from {f_min} to {self.f_max} Hz; give limits in order, between 0 and "
                f"half the rate, {rate / 2:g} Hz."
            )
        self.scale, self.norm, self.triangles = scale, norm, triangles
        self.power, self.log, self.floor, self.top = power, log, floor, top
        self.mean, self.std, self.preemphasis, self.remove_dc = mean, std, preemphasis, remove_dc
        self.last_frame = last_frame
        self.window: Tensor  # (n_fft,), or (window_length,) without `centre`
        self.bank: Tensor  # (M, bins)
        for name, table in self._tables().items():
            self.register_buffer(name, table, persistent=False)

    def _tables(self) -> dict[str, Tensor]:
        window = torch.hann_window(self.window_length, periodic=not self.symmetric, dtype=torch.float64, device="cpu")
        if self.centre:
            before = (self.n_fft - self.window_length) // 2
            window = F.pad(window, (before, self.n_fft - self.window_length - before))
        bank = mel_bank(self.rate, self.n_fft, self.mels, self.f_min, self.f_max, self.scale, self.norm, self.triangles)
        return {"window": window.float(), "bank": bank}

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> LogMel:
        """Move with the model, but stay in float32: in half precision the filters would be other filters."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        device = self.window.device
        self.window, self.bank = (table.to(device) for table in self._tables().values())
        return self

    def frames(self, samples: int) -> int:
        """Return how many frames a sound of so many samples has."""
        padded = samples + 2 * (self.n_fft // 2) if self.centre else samples
        return max(0, (padded - len(self.window)) // self.hop + 1 - (not self.last_frame))

    def forward(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N M frames"]:
        """Return the spectrograms."""
        samples = audio.shape[-1]
        if self.frames(samples) < 1 or (self.centre and self.padding == "reflect" and samples <= self.n_fft // 2):
            raise InputError(
                f"LogMel: sounds of {samples} samples are shorter than a frame of {self.n_fft}; give longer ones, by "
                "the `seconds` of the tower."
            )
        with torch.autocast(audio.device.type, enabled=False):
            bands = self._power(audio.float()) @ self.bank.T
            return ((self._log(bands) - self.mean) / self.std).transpose(1, 2)

    def _power(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N frames bins"]:
        if self.centre:
            half = self.n_fft // 2
            audio = F.pad(audio, (half, half), mode=self.padding)
        frames = audio.unfold(-1, len(self.window), self.hop)
        if not self.last_frame:
            frames = frames[:, :-1]
        if self.remove_dc:
            frames = frames - frames.mean(-1, keepdim=True)
        if self.preemphasis:
            before = torch.cat([frames[..., :1], frames[..., :-1]], -1)  # the first sample stands for its predecessor
            frames = frames - self.preemphasis * before
        spectrum = torch.fft.rfft(frames * self.window, n=self.n_fft)
        power: Tensor = spectrum.real.square() + spectrum.imag.square()
        # At zero the square root has no gradient.
        return power if self.power == 2 else power.clamp(min=torch.finfo(torch.float32).tiny).sqrt()

    def _log(self, bands: Float[Tensor, "N frames M"]) -> Float[Tensor, "N frames M"]:
        if self.log == "log10_1p":
            logged = (1 + 10_000 * bands).log10()
        elif self.log == "log":
            logged = bands.clamp(min=self.floor).log()
        else:
            logged = bands.clamp(min=self.floor).log10() * (20 / self.power if self.log == "db" else 1)
        if self.top is not None:
            logged = torch.maximum(logged, logged.amax((1, 2), keepdim=True) - self.top)
        return logged
