"""Against librosa, and against transformers' feature extractors, which are built here without any files."""

import copy

import librosa
import numpy as np
import pytest
import torch

from kdmm.errors import InputError
from kdmm.models.audio import AstLogMel, ClapLogMel, LibrosaLogMel, LogMel, WhisperLogMel
from kdmm.models.audio.mel_bank import hertz, mel, mel_bank


def sound(rate, seconds, seed=0):
    """A chord that swells, in noise: all bands hold something."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(rate * seconds)) / rate
    chord = sum((2 * torch.pi * f * time).sin() for f in (110.0, 440.0, 1234.5, 5000.0))
    return 0.1 * chord * time / seconds + 0.01 * torch.randn(len(time), generator=generator)


def assert_equal(ours, theirs):
    """To 1e-4 of the values' unit."""
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4, rtol=0)


def test_librosas_defaults():
    waves = [sound(22_050, 1.3), sound(22_050, 1.3, seed=1) * 1e-3]  # each has its own 80 dB below its maximum
    expected = [librosa.power_to_db(librosa.feature.melspectrogram(y=wave.numpy())) for wave in waves]
    ours = LibrosaLogMel()(torch.stack(waves))
    for row, one in zip(ours, expected, strict=True):
        assert_equal(row, one)


def test_librosas_magnitudes_with_a_shorter_window():
    wave = sound(32_000, 0.7)
    bands = librosa.feature.melspectrogram(
        y=wave.numpy(), sr=32_000, n_fft=1024, hop_length=320, win_length=801, n_mels=40, fmin=60, fmax=12_000,
        power=1.0, htk=True, norm=1, pad_mode="reflect",
    )  # fmt: skip
    ours = LogMel(
        32_000, 1024, 320, 40, window_length=801, f_min=60, f_max=12_000, scale="htk", norm="sum", power=1, floor=1e-5
    )
    assert_equal(ours(wave[None])[0], librosa.amplitude_to_db(bands, top_db=None))
    natural = LogMel(
        32_000, 1024, 320, 40, window_length=801, f_min=60, f_max=12_000, scale="htk", norm="sum", power=1, log="log"
    )
    assert_equal(natural(wave[None])[0], np.log(bands))
    shifted = LogMel(
        32_000, 1024, 320, 40, window_length=801, f_min=60, f_max=12_000, scale="htk", norm="sum", power=1,
        log="log10_1p",
    )  # fmt: skip
    assert_equal(shifted(wave[None])[0], np.log10(1 + 1e4 * bands))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("seconds", [2.0, 0.7])
def test_claps_extractor(fused, seconds):
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor(max_length_s=2, truncation="fusion" if fused else "rand_trunc", padding="pad")
    wave = sound(48_000, seconds) * 3
    expected = extractor(wave.numpy(), sampling_rate=48_000, return_tensors="np").input_features
    padded = torch.nn.functional.pad(wave, (0, 96_000 - len(wave)))
    ours = ClapLogMel(fused)(padded[None])[0].T
    for copied in expected[0]:
        assert_equal(ours, copied)


@pytest.mark.parametrize("frequency", [440.0, 9000.0])
def test_beside_a_loud_pure_tone_float32_shows(frequency):
    """Transformers computes in float64. What lies 60 dB below the loudest band agrees less than the rest."""
    from transformers import ClapFeatureExtractor

    wave = (2 * torch.pi * frequency * torch.arange(48_000) / 48_000).sin()
    extractor = ClapFeatureExtractor(max_length_s=1, truncation="rand_trunc")
    expected = extractor(wave.numpy(), sampling_rate=48_000, return_tensors="np").input_features[0, 0]
    off = np.abs(ClapLogMel()(wave[None])[0].T.numpy() - expected)
    heard = expected > expected.max() - 60
    assert heard.mean() > 0.05
    assert off[heard].max() < 2e-4
    assert off.max() < 0.5


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")  # Kaldi's lowest, at 128 filters
@pytest.mark.parametrize("settings", [{}, {"num_mel_bins": 64, "mean": -3.0, "std": 2.0}, {"sampling_rate": 22_050}])
def test_asts_extractor(settings):
    from transformers import ASTFeatureExtractor

    extractor = ASTFeatureExtractor(max_length=160, **settings)
    rate = extractor.sampling_rate
    wave = sound(rate, 1.1)
    log_mel = AstLogMel(rate, extractor.num_mel_bins, extractor.mean, extractor.std)
    frames = log_mel.frames(len(wave))
    expected = extractor(wave.numpy(), sampling_rate=rate, return_tensors="np").input_values[0]
    assert frames == 1 + (len(wave) - 400) // 160
    assert_equal(log_mel(wave[None])[0].T, expected[:frames])


@pytest.mark.parametrize("mels", [80, 128])
def test_whispers_extractor(mels):
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=mels, chunk_length=2)
    waves = [sound(16_000, 2.0), sound(16_000, 2.0, seed=1) * 0.01]
    expected = extractor([wave.numpy() for wave in waves], sampling_rate=16_000, return_tensors="np").input_features
    assert_equal(WhisperLogMel(mels)(torch.stack(waves)), expected)


def test_filters_are_librosas():
    for htk in (False, True):
        for norm, name in ((None, None), ("slaney", "slaney"), (1, "sum")):
            theirs = librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=50, fmin=30, fmax=9000, htk=htk, norm=norm)
            ours = mel_bank(22_050, 1024, 50, 30, 9000, "htk" if htk else "slaney", name, "hertz")
            np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_scales_and_their_inverses(scale):
    frequencies = torch.linspace(0, 20_000, 1000, dtype=torch.float64)
    there = mel(frequencies, scale)
    np.testing.assert_allclose(there, librosa.hz_to_mel(frequencies.numpy(), htk=scale == "htk"), rtol=1e-12)
    torch.testing.assert_close(hertz(there, scale), frequencies)


def test_silence_is_the_floor():
    for log, floor in (("db", -100.0), ("log10", -10.0), ("log10_1p", 0.0)):
        assert LogMel(log=log, norm=None)(torch.zeros(2, 1000)).unique().tolist() == pytest.approx([floor])


def test_a_louder_sound_is_as_many_decibels_higher():
    wave = sound(16_000, 0.5)[None]
    torch.testing.assert_close(LogMel()(wave * 10) - LogMel()(wave), torch.full((1, 64, 51), 20.0), atol=1e-3, rtol=0)


def test_sounds_do_not_depend_on_their_neighbours():
    waves = torch.stack([sound(22_050, 0.5), sound(22_050, 0.5, seed=1) * 1e-4])
    together = LibrosaLogMel()(waves)
    for row, wave in zip(together, waves, strict=True):
        torch.testing.assert_close(row, LibrosaLogMel()(wave[None])[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_stays_in_float32(dtype):
    wave = sound(16_000, 0.5)[None]
    expected = LogMel()(wave)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(LogMel()(wave), expected)
    half = copy.deepcopy(LogMel()).to(dtype)
    assert torch.equal(half(wave), expected)
    assert half(wave.to(dtype)).dtype == torch.float32


def test_it_has_no_state_and_survives_the_meta_device():
    log_mel = LogMel()
    assert not log_mel.state_dict()
    assert not list(log_mel.parameters())
    wave = sound(16_000, 0.5)[None]
    with torch.device("meta"):
        empty = LogMel()
    torch.testing.assert_close(empty.to_empty(device="cpu")(wave), log_mel(wave))


def test_gradients_are_finite_even_in_silence():
    for power in (1, 2):
        wave = torch.zeros(1, 1000, requires_grad=True)
        LogMel(power=power, log="log10_1p")(wave).sum().backward()
        assert torch.isfinite(wave.grad).all()


@pytest.mark.parametrize("settings", [{}, {"n_fft": 401, "hop": 100}, {"centre": False, "window_length": 400}])
@pytest.mark.parametrize("last_frame", [True, False])
def test_frames_are_counted(settings, last_frame):
    log_mel = LogMel(last_frame=last_frame, **settings)
    for samples in (600, 799, 800, 801, 1600):
        assert log_mel(torch.randn(1, samples)).shape[-1] == log_mel.frames(samples)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"f_max": 9000}, "LogMel.f_max: the filters go from 50.0 to 9000 Hz.*8000 Hz"),
        ({"f_min": 500, "f_max": 100}, "LogMel.f_max"),
        ({"window_length": 1000}, "LogMel.window_length: 1000 given; give 2 to `n_fft`, 512"),
        ({"hop": 0}, "LogMel.hop: 0"),
        ({"mels": 0}, "LogMel.mels: 0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        LogMel(**settings)


def test_sounds_shorter_than_a_frame_are_named():
    with pytest.raises(InputError, match="sounds of 200 samples are shorter than a frame of 512"):
        LogMel()(torch.randn(1, 200))
    with pytest.raises(InputError, match="shorter than a frame"):
        AstLogMel()(torch.randn(1, 399))
