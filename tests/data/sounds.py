"""Small sound files, made when a test needs them."""

import io

import numpy as np
import soundfile

RATE = 16_000


def noise(seconds=0.5, channels=1, rate=RATE, seed=0):
    """Return samples (T, channels) in [-0.9, 0.9], no two channels alike."""
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (round(seconds * rate), channels))


def tones(seconds=0.5, channels=1, rate=RATE):
    """Return samples (T, channels) that lossy formats keep: channel c is a tone of 300 (c + 1) Hz."""
    times = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * 300 * (channel + 1) * times) for channel in range(channels)], 1)


def encoded(samples, form="WAV", kind=None, rate=RATE, **settings):
    """Return the bytes of a file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=kind, **settings)
    return file.getvalue()


def write_sounds(folder, names, seconds=0.1):
    """Write one WAV a name; the n-th is noise of the seed n."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(noise(seconds, seed=seed), kind="FLOAT"))
