"""Sounds in files: WAV, FLAC, OGG, MP3 and what else libsndfile reads."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import torch

from kdmm.data.files import identity_of, open_file
from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip

__all__ = ["LONGEST_S", "AudioRef"]

LONGEST_S = 60
"""Seconds that are read of a sound whose length is not named: a recording of hours would not fit in memory."""

NO_SOUND = (1, 7, 18)  # libsndfile's errors: an unknown format, MPEG without frames, Ogg or FLAC without a sound in it
CUT_WAV = re.compile(r"^data : (\d+) \(should be \d+\)", re.MULTILINE)  # from here on, what libsndfile notes of a file
CUT_OGG = ("Ogg: Last page lacks an end-of-stream bit", "Ogg: Junk after the last page")
UNSTATED = 0x7FFF_0000  # bytes; a WAV that is written to a pipe states about 2 or 4 GiB, for want of its length
ENDLESS = 2**62  # samples; libsndfile gives 2**63 - 1 for a FLAC that does not state its length


@dataclass(frozen=True)
class AudioRef:
    """Where a sound is; read when it is needed. Needs ``pip install 'kdmm[audio]'``.

    The file's content tells its format, not its name. Full scale is [-1, 1], which MP3, OGG and files of floats may
    exceed. An MP3 of variable bit rate without a header is read as far as libsndfile estimates that it goes.

    Args:
        path: its file, or the name it had where ``data`` was found.
        data: the file's bytes, or another object with Python's buffer protocol; ``None``: they are in ``path``.
        start_s: where in the file the sound begins, seconds.
        seconds: its length; the file may end before. ``None``: all of it, but no more than ``LONGEST_S``.

    Raises:
        InputError: ``start_s`` is negative, ``seconds`` is not above 0, or the package that reads sounds is missing.
    """

    path: str
    data: Any = field(default=None, repr=False)
    start_s: float | int = 0
    seconds: float | int | None = None

    def __post_init__(self) -> None:
        _soundfile()  # here, so that a missing package is not taken for bad samples
        if not 0 <= self.start_s < float("inf"):
            raise InputError(f"AudioRef.start_s: {self.start_s} given; give 0 or more seconds.")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise InputError(f"AudioRef.seconds: {self.seconds} given; give a number above 0, or null.")

    def open(self) -> AudioClip:
        """Read all channels at the file's own rate.

        Raises:
            InputError: there is no such file, or it holds no readable sound; the message says which, without the path.
        """
        soundfile = _soundfile()
        with open_file(self.path, self.data) as file:
            if self.data is None and self.path.lower().endswith(".raw"):  # soundfile would ask for its rate
                raise InputError("a name in .raw stands for samples without a header; give the file another")
            try:
                with soundfile.SoundFile(file) as sound:
                    samples = self._read(sound)
                    return AudioClip(samples, sound.samplerate)
            except soundfile.LibsndfileError as error:
                if error.code in NO_SOUND:
                    raise InputError("this is no sound that can be read") from None
                reason = error.error_string.removeprefix("Error : ").rstrip(".")
                raise InputError(f"the sound is broken: {reason}") from error

    def identity(self) -> str:
        """Return what changes when the sound does: its file or bytes, and which stretch of it."""
        whole = identity_of(self.path, self.data)
        return whole if self.start_s == 0 and self.seconds is None else f"{whole} {self.start_s} {self.seconds}"

    def _read(self, sound: Any) -> torch.Tensor:
        """Return the samples (channels, T)."""
        rate, frames = sound.samplerate, sound.frames
        if not frames:
            raise InputError("the sound has no samples")
        if frames > ENDLESS:  # soundfile cannot read such a file to its end
            raise InputError("the sound does not state its length, as if written to a pipe; write it to a file")
        first = round(self.start_s * rate)
        if first >= frames:
            raise InputError(f"the sound ends after {frames / rate:g} s, and is to be read from {self.start_s:g} s on")
        if _is_cut_off(sound.extra_info):
            raise InputError("the file is cut off")
        seconds = LONGEST_S if self.seconds is None else self.seconds
        wanted = min(max(1, round(seconds * rate)), frames - first)
        if first:
            sound.seek(first)
        values = sound.read(wanted, dtype="float32", always_2d=True)
        slack = rate if sound.format == "MP3" else 0  # the length in an MP3's header, if any, may be an estimate
        if len(values) < wanted - slack:
            raise InputError("the file is cut off")
        if not len(values):
            raise InputError("the sound has no samples")
        if not np.isfinite(values).all():
            raise InputError("the sound holds values that are no finite numbers")
        return torch.from_numpy(np.ascontiguousarray(values.T))


def _is_cut_off(notes: str) -> bool:
    """Return whether libsndfile's notes say that a file is shorter than its header, or its last page, demands."""
    wav = CUT_WAV.search(notes)
    return any(note in notes for note in CUT_OGG) or (wav is not None and int(wav[1]) < UNSTATED)


def _soundfile() -> ModuleType:
    try:
        return importlib.import_module("soundfile")
    except (ImportError, OSError):  # the latter where it finds no libsndfile
        raise InputError("Sounds in files are read by the package soundfile: pip install 'kdmm[audio]'") from None
