"""The log-mel spectrograms that well-known models were trained with, each exactly as its own package computes it."""

from __future__ import annotations

from kdmm.models.audio.log_mel import LogMel

__all__ = ["AstLogMel", "ClapLogMel", "LibrosaLogMel", "WhisperLogMel"]


def ClapLogMel(  # noqa: N802  a component to its users, who write it beside LogMel in YAML
    fused: bool = False,
    rate: int = 48_000,
    n_fft: int = 1024,
    hop: int = 480,
    mels: int = 64,
    f_min: float | int = 0.0,
    f_max: float | int = 14_000.0,
) -> LogMel:
    """Return what transformers' ``ClapFeatureExtractor`` computes (CLAP, https://arxiv.org/abs/2211.06687).

    Args:
        fused: whether the model fuses long sounds: these were trained with HTK filters, the others with Slaney's.
        rate: Hz.
        n_fft: samples.
        hop: samples.
        mels: M.
        f_min: Hz.
        f_max: Hz.
    """
    scale, norm = ("htk", None) if fused else ("slaney", "slaney")
    return LogMel(rate, n_fft, hop, mels, f_min=f_min, f_max=f_max, scale=scale, norm=norm)  # type: ignore[arg-type]


def AstLogMel(  # noqa: N802  as above
    rate: int = 16_000, mels: int = 128, mean: float | int = -4.2677393, std: float | int = 4.5689974
) -> LogMel:
    """Return what transformers' ``ASTFeatureExtractor`` computes: Kaldi's filter bank (https://arxiv.org/abs/2104.01778).

    It is what transformers computes without torchaudio.

    Args:
        rate: Hz. Frames are of 400 samples, 160 apart, at any rate.
        mels: M.
        mean: of the training set's spectrograms; AudioSet's by default. It is subtracted.
        std: of the training set's spectrograms. Twice as much divides them.
    """
    return LogMel(
        rate,
        n_fft=512,
        hop=160,
        mels=mels,
        window_length=400,
        window="hann_symmetric",
        centre=False,
        f_min=20.0,
        f_max=float(rate // 2),
        scale="htk",
        norm=None,
        triangles="mel",
        log="log",
        floor=2.0**-23,  # the spacing of float32 numbers at 1
        mean=mean,
        std=2 * std,
        preemphasis=0.97,
        remove_dc=True,
    )


def WhisperLogMel(mels: int = 80) -> LogMel:  # noqa: N802  as above
    """Return what transformers' ``WhisperFeatureExtractor`` computes (https://arxiv.org/abs/2212.04356).

    Args:
        mels: M; large-v3 reads 128.
    """
    return LogMel(
        16_000,
        n_fft=400,
        hop=160,
        mels=mels,
        f_min=0.0,
        f_max=8000.0,
        log="log10",
        top=8.0,
        mean=-4.0,
        std=4.0,
        last_frame=False,
    )


def LibrosaLogMel(  # noqa: N802  as above
    rate: int = 22_050, n_fft: int = 2048, hop: int = 512, mels: int = 128, top: float | int | None = 80.0
) -> LogMel:
    """Return ``librosa.power_to_db(librosa.feature.melspectrogram(...))`` with librosa's defaults.

    Args:
        rate: Hz.
        n_fft: samples.
        hop: samples.
        mels: M.
        top: decibels below each sound's highest value that are kept.
    """
    return LogMel(rate, n_fft, hop, mels, padding="zeros", f_min=0.0, top=top)
