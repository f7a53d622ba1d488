import numpy as np
import pytest
import soxr
import torch

from kdmm.errors import InputError
from kdmm.models.audio import AudioClip, Waveform


def clip(samples, rate=100):
    return AudioClip(torch.as_tensor(samples, dtype=torch.float32).reshape(-1, np.shape(samples)[-1]), rate)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("repeat_pad", [1, 2, 3, 1, 2, 3, 0, 0]),
        ("repeat", [1, 2, 3, 1, 2, 3, 1, 2]),
        ("pad", [1, 2, 3, 0, 0, 0, 0, 0]),
    ],
)
def test_short_sounds_are_filled(fill, expected):
    wave = Waveform(100, 0.08, fill)(clip([[1.0, 2, 3]]))
    assert wave.tolist() == expected
    assert wave.dtype == torch.float32


def test_long_sounds_are_cut_and_exact_ones_kept():
    assert Waveform(100, 0.02)(clip([[1.0, 2, 3]])).tolist() == [1, 2]
    for fill in ("repeat_pad", "repeat", "pad"):
        assert Waveform(100, 0.03, fill)(clip([[1.0, 2, 3]])).tolist() == [1, 2, 3]


def test_channels_are_averaged():
    assert Waveform(100, 0.02)(clip([[1.0, 0.5], [0.0, -0.5]])).tolist() == [0.5, 0]


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 48_000), (48_000, 16_000), (8_000, 44_100)])
def test_resampling_is_soxrs_even_at_the_cut(rate, wanted):
    noise = torch.randn(1, 3 * rate) * 0.1
    expected = soxr.resample(noise[0].numpy(), rate, wanted, quality="HQ")[: 2 * wanted]
    assert np.abs(Waveform(wanted, 2)(AudioClip(noise, rate)).numpy() - expected).max() < 1e-6


def test_a_resampled_sine_stays_that_sine():
    time = torch.arange(44_100) / 44_100
    wave = Waveform(16_000, 1.0)(AudioClip((2 * torch.pi * 440 * time).sin()[None], 44_100))
    expected = (2 * torch.pi * 440 * torch.arange(16_000) / 16_000).sin()
    inner = slice(1000, -1000)  # the filter meets the edges
    torch.testing.assert_close(wave[inner], expected[inner], atol=1e-3, rtol=0)


def test_equal_settings_are_equal_and_hash_alike():
    assert Waveform(16_000, 2) == Waveform(16_000, 2.0)
    assert len({Waveform(16_000, 2), Waveform(16_000, 2.0), Waveform(16_000, 2, "pad")}) == 2


def test_samples_that_are_no_numbers_are_refused():
    for bad in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="the sound holds values that are not finite"):
            Waveform(100, 0.02)(clip([[1.0, bad]]))


def test_empty_sounds_are_refused():
    with pytest.raises(InputError, match="the sound is empty"):
        Waveform(100, 0.02)(AudioClip(torch.zeros(2, 0), 100))
    with pytest.raises(InputError, match="shorter than one sample"):
        Waveform(10, 1)(clip([[1.0]], rate=1000))


def test_rounding_gives_the_asked_length():
    """A recording at an odd rate may come out a sample short of the length: it is filled, not returned short."""
    for rate in (11_025, 22_050, 44_100, 48_000):
        wave = Waveform(16_000, 0.9999)(AudioClip(torch.randn(1, rate), rate))
        assert wave.shape == (round(16_000 * 0.9999),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1.0), "Waveform.rate: 0 Hz"),
        ((100, 0.0), "Waveform.seconds: 0.0"),
        ((100, 0.001), "one sample or more"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        Waveform(*arguments)
