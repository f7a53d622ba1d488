import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.models.audio import AudioClip, FrequencyMask, Gain, Noise, RandomCrop, TimeMask

RATE = 16_000
ALL = [RandomCrop(0.25), Gain(-6, 6), Noise(0, 10), TimeMask(0.3, 2), FrequencyMask(0.3, 2)]


def noise(seconds=1.0, channels=2):
    return AudioClip(0.1 * torch.randn(channels, round(RATE * seconds)), RATE)


def sine(frequency, seconds=1.0):
    time = torch.arange(round(RATE * seconds)) / RATE
    return (2 * math.pi * frequency * time).sin()[None]


def power(samples):
    return samples.double().square().mean().item()


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_same_seed_same_sound_and_the_given_one_is_left_alone(change):
    clip = noise()
    before = clip.samples.clone()
    changed = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        changed.append(change(clip))
    assert torch.equal(changed[0].samples, changed[1].samples)
    assert not torch.equal(changed[0].samples, changed[2].samples)
    assert torch.equal(clip.samples, before)
    assert changed[0].rate == RATE
    assert changed[0].samples.dtype == torch.float32


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_silence_stays_silent_and_draws_as_much_as_sound(change):
    heard = noise(channels=1)
    torch.manual_seed(1)
    quiet = change(AudioClip(torch.zeros(1, RATE), RATE))
    after_silence = torch.rand(())
    torch.manual_seed(1)
    change(heard)
    assert torch.equal(torch.rand(()), after_silence)
    assert quiet.samples.abs().max() == 0


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
@pytest.mark.parametrize("samples", [0, 1, 7])
def test_the_shortest_sounds_are_handled(change, samples):
    changed = change(AudioClip(torch.ones(1, samples), RATE))
    assert changed.samples.shape == (1, samples)
    assert torch.isfinite(changed.samples).all()


def test_crop_is_a_part_and_reaches_both_ends():
    clip = AudioClip(torch.arange(10.0)[None], 10)
    starts = set()
    for _ in range(200):
        part = RandomCrop(0.8)(clip).samples[0]
        assert torch.equal(part, torch.arange(8.0) + part[0])
        starts.add(int(part[0]))
    assert starts == {0, 1, 2}
    assert RandomCrop(1.0)(clip) is clip
    assert RandomCrop(2.0)(clip) is clip


def test_gain_is_exact_in_decibels_and_even_between_its_limits():
    clip = noise()
    assert 10 * math.log10(power(Gain(-7, -7)(clip).samples) / power(clip.samples)) == pytest.approx(-7, abs=1e-5)
    drawn = torch.tensor([20 * math.log10(Gain(-6, 6)(clip).samples[0, 0] / clip.samples[0, 0]) for _ in range(2000)])
    assert -6 <= drawn.min() < -5.9
    assert 5.9 < drawn.max() <= 6
    assert drawn.mean().abs() < 4 * 12 / math.sqrt(12 * 2000)  # four standard errors of an even draw


def test_noise_has_the_ratio_that_was_asked_for():
    clip = noise()
    for ratio in (-10.0, 0.0, 25.0):
        added = Noise(ratio, ratio)(clip).samples - clip.samples
        assert 10 * math.log10(power(clip.samples) / power(added)) == pytest.approx(ratio, abs=1e-3)
    channels = (Noise(0, 0)(clip).samples - clip.samples).double()
    assert torch.corrcoef(channels)[0, 1].abs() < 4 / math.sqrt(RATE)  # each channel has its own noise


def test_time_mask_is_one_stretch_of_zeros_and_the_rest_untouched():
    clip = AudioClip(torch.rand(2, 1000) + 0.5, 1000)
    lengths = []
    for _ in range(300):
        masked = TimeMask(0.2)(clip).samples
        silent = (masked == 0).all(0)
        assert torch.equal(masked[:, ~silent], clip.samples[:, ~silent])
        assert silent.int().diff().abs().sum() <= 2
        lengths.append(int(silent.sum()))
    assert min(lengths) <= 5
    assert 195 <= max(lengths) <= 200
    silent = (TimeMask(0.2, 3)(clip).samples == 0).all(0)
    assert 0 < silent.sum() <= 600


def drawn_band(mask, seed):
    """The band that a call after this seed takes out."""
    torch.manual_seed(seed)
    return mask._band(RATE)


def test_frequency_mask_takes_its_band_and_leaves_the_rest():
    """A tone in the band goes, tones beside it stay."""
    mask, tried = FrequencyMask(0.3), 0
    for seed in range(20):
        low, high = drawn_band(mask, seed)
        if not 500 < low < high - 300 < high < 7500:  # room for the tones, and for a window's width around them
            continue
        tried += 1
        inside, outside = sine((low + high) / 2), sine(low - 100) + sine(high + 100)
        torch.manual_seed(seed)
        masked = mask(AudioClip(inside + outside, RATE)).samples
        inner = slice(2048, -2048)  # the tones begin and end abruptly, which spreads them
        assert power((masked - outside)[:, inner]) < 1e-5 * power(inside)
    assert tried >= 3


def test_frequency_masks_of_no_width_change_nothing():
    clip = noise(0.513)
    torch.testing.assert_close(FrequencyMask(1e-9)(clip).samples, clip.samples, atol=1e-6, rtol=0)


def test_bands_are_within_the_share_of_the_mel_scale():
    def mel(frequency):
        return 2595 * math.log10(1 + frequency / 700)

    bands = [drawn_band(FrequencyMask(0.25), seed) for seed in range(500)]
    shares = [(mel(high) - mel(low)) / mel(RATE / 2) for low, high in bands]
    assert 0 <= min(shares) < 0.005
    assert 0.245 < max(shares) <= 0.25
    assert min(low for low, _ in bands) >= 0
    assert max(high for _, high in bands) <= RATE / 2 + 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0), "RandomCrop.seconds: 0 given"),
        (lambda: Gain(3, -3), "Gain: from 3 to -3 dB"),
        (lambda: Noise(float("nan"), 3), "Noise: from nan to 3 dB"),
        (lambda: TimeMask(0.1, 0), "TimeMask.count: 0"),
        (lambda: TimeMask(-0.1), "TimeMask.seconds: -0.1"),
        (lambda: FrequencyMask(1.5), "FrequencyMask.share: 1.5"),
        (lambda: FrequencyMask(0.5, 0), "FrequencyMask.count: 0"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
