"""A note as a sample's sound: described now, rendered when it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from kdmm.data.sound_font.presets import read_presets
from kdmm.data.sound_font.render import render
from kdmm.data.sound_font.riff import read_font_file
from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip

__all__ = ["Note"]

RENDERING = 1  # counts the changes of what a note sounds like, so that what was computed of the old ones is not taken


@dataclass(frozen=True)
class Note:
    """One key of one preset, struck and let go.

    Args:
        font: the sound font's file.
        bank: of the preset.
        program: of the preset.
        name: of the instrument, for messages.
        key: MIDI number; 60 is middle C, 69 is A at 440 Hz.
        velocity: how hard it is struck, 1 to 127.
        held: for how many seconds; it sounds on after.
        seconds: where it is cut.
        rate: samples a second, Hz.
    """

    font: str
    bank: int
    program: int
    name: str
    key: int
    velocity: int
    held: float | int
    seconds: float | int
    rate: int

    @property
    def path(self) -> str:
        """Names it in messages."""
        return f"{Path(self.font).name}: {self.name}, key {self.key}, velocity {self.velocity}, {self.held:g} s"

    def open(self) -> AudioClip:
        """Render it, in one channel.

        Raises:
            InputError: the sound font cannot be read, or has nothing for the key; the message is without the path.
        """
        presets = read_presets(self.font)
        voices = presets.voices(self.bank, self.program, self.key, self.velocity)
        if not voices:
            raise InputError(f"this sound font plays nothing for key {self.key} of preset {self.bank}:{self.program}")
        samples = render(presets.file, voices, self.velocity, self.held, self.seconds, self.rate)
        return AudioClip(torch.from_numpy(samples)[None], self.rate)

    def identity(self) -> str:
        """Return what changes when its sound does: a hash of the sound font, and how it is played."""
        try:
            font = read_font_file(self.font).digest
        except InputError:  # `open` says what is wrong
            font = self.font
        played = (self.bank, self.program, self.key, self.velocity, self.held, self.seconds, self.rate, RENDERING)
        return " ".join(map(str, (font, *played)))
