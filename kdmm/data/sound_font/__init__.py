"""A sound font's instruments as audio with captions."""

from kdmm.data.sound_font.note import Note
from kdmm.data.sound_font.source import SoundFont

__all__ = ["Note", "SoundFont"]
