"""Sounds: what a model hears, and how it is made ready.

The towers that listen are named by :mod:`kdmm.models`: they build on its preprocessing, which builds on this.
"""

from kdmm.models.audio.augment import FrequencyMask, Gain, Noise, RandomCrop, TimeMask
from kdmm.models.audio.clip import AudioClip
from kdmm.models.audio.front_ends import AstLogMel, ClapLogMel, LibrosaLogMel, WhisperLogMel
from kdmm.models.audio.log_mel import LogMel
from kdmm.models.audio.waveform import Waveform

__all__ = [
    "AstLogMel",
    "AudioClip",
    "ClapLogMel",
    "FrequencyMask",
    "Gain",
    "LibrosaLogMel",
    "LogMel",
    "Noise",
    "RandomCrop",
    "TimeMask",
    "Waveform",
    "WhisperLogMel",
]
