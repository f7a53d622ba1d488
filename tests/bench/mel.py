"""``LogMel`` on a batch of clips against librosa on the same clips with the same settings, librosa on the CPU.

Librosa gets one clip after the other, and makes its filters for each: that is what its one call does. For comparison it
also gets all of them in one call. Notes of ``SoundFont``, repeated to the clips' length; the settings are those of
``experiments/audio/student.yaml``. PyTorch has one thread, as librosa's Fourier transforms have: with more it would
wait for the threads of NumPy's BLAS, which go on turning after librosa's turn. On a GPU `LogMel` has the clips moved
there and its spectrograms moved back within its time.
"""

from __future__ import annotations

import statistics
import time

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdmm.data import SoundFont
from kdmm.models import LogMel
from kdmm.models.audio import Waveform
from tests.bench.device import DEVICE

RATE, ROUNDS = 16_000, 5
CLIPS = {1: 96, 10: 16}  # seconds, and how many
HEARD_DB = 60  # below a clip's loudest band


def theirs(waves: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return librosa's spectrograms of waves (T,) or (N, T)."""
    power = librosa.feature.melspectrogram(
        y=waves, sr=RATE, n_fft=512, hop_length=320, n_mels=64, fmin=50, fmax=RATE / 2, pad_mode="reflect"
    )
    return librosa.power_to_db(power, top_db=None)


def one_by_one(audio: Tensor) -> NDArray[np.float32]:
    return np.stack([theirs(wave) for wave in audio.numpy()])


def at_once(audio: Tensor) -> NDArray[np.float32]:
    return theirs(audio.numpy())


def clips(seconds: int, count: int) -> Tensor:
    """Return notes of many instruments (N, T)."""
    notes = SoundFont(rate=RATE, seconds=1).read("train")
    waveform = Waveform(RATE, seconds, "repeat")
    return torch.stack([waveform(note.audio.open()) for note in notes[:: len(notes) // count][:count]])


def main() -> None:
    log_mel = LogMel(rate=RATE, hop=320).to(DEVICE)
    sides = {
        "LogMel": lambda audio: log_mel(audio.to(DEVICE)).cpu().numpy(),
        "one by one": one_by_one,
        "at once": at_once,
    }
    print(f"{'':16}{'clips/s':>12}{'librosa, clips/s':>24}{'LogMel / librosa':>24}{'largest difference, dB':>28}")
    print(f"{'clips':16}{'LogMel':>12}" + f"{'one by one':>14}{'at once':>10}" * 2 + f"{'heard':>18}{'all':>10}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for seconds, count in CLIPS.items():
        audio = clips(seconds, count)
        ours, librosas = sides["LogMel"](audio), one_by_one(audio)
        off, heard = np.abs(ours - librosas), librosas > librosas.max((1, 2), keepdims=True) - HEARD_DB
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for n in range(ROUNDS + 1):
            for name, side in sides.items():
                began = time.perf_counter()
                side(audio)
                if n:  # the first round warms up
                    rates[name].append(count / (time.perf_counter() - began))
        median = {name: statistics.median(found) for name, found in rates.items()}
        ratios = [
            statistics.median(a / b for a, b in zip(rates["LogMel"], rates[name], strict=True))
            for name in ("one by one", "at once")
        ]
        print(
            f"{f'{count} of {seconds} s':16}{median['LogMel']:12.0f}{median['one by one']:14.0f}"
            f"{median['at once']:10.0f}{ratios[0]:14.2f}{ratios[1]:10.2f}{off[heard].max():18.5f}{off.max():10.5f}"
        )
    torch.set_num_threads(threads)
