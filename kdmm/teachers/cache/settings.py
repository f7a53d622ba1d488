"""How a store is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kdmm.errors import InputError, nearest
from kdmm.teachers.cache.format import Format
from kdmm.teachers.cache.formats import parse_format

__all__ = ["Settings"]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Settings:
    """How a store is written.

    Args:
        splits: of ``train`` all views are answered, of the others the one without augmentation.
        formats: by output, and under ``""`` that of all others; see :func:`kdmm.teachers.cache.formats.parse_format`.
        outputs: what is kept of what the teacher says; none: all of it.
        batch_size: pictures or sounds at a time, and eighths of the texts.
        shard_rows: answers of a file, about.
        precision: of the Trainer; what is added or verified later is answered in it, too.
    """

    splits: tuple[str, ...] = ("train", "val")
    formats: Mapping[str, str] = field(default_factory=lambda: {"": "float16"})
    outputs: tuple[str, ...] = ()
    batch_size: int = 64
    shard_rows: int = 16384
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for split in self.splits:
            if split not in SPLITS:
                raise InputError(f"splits: {split!r} given; accepted: {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
        for written in self.formats.values():
            parse_format(written)
        for setting, value in (("batch_size", self.batch_size), ("shard_rows", self.shard_rows)):
            if value < 1:
                raise InputError(f"{setting}: {value} given; give at least 1.")

    def format_of(self, output: str) -> Format:
        """Return how an output is kept."""
        return parse_format(self.formats.get(output, self.formats[""]))
