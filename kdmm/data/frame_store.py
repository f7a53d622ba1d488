"""Decoded frames on a disk: a clip is decoded once, not for every view of every run."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kdmm.models.video import VideoClip

__all__ = ["FrameStore"]

COUNT, SECONDS, PLACES = "kdmm frames", "kdmm seconds", "kdmm places"


@dataclass(frozen=True)
class FrameStore:
    """A folder with a PNG a clip, its frames one below the other, named by what the clip is and what is read of it.

    It grows by what is read, no more than ``frames`` x 3 x H x W bytes a clip and usually a tenth of that, and may be
    deleted at any time. A clip whose frames would be larger together than Pillow opens is not kept.

    Args:
        folder: made when it is needed.
    """

    folder: str

    def get(self, identity: str, read: Callable[[], VideoClip]) -> VideoClip:
        """Return a clip from the folder, or read it and keep it there.

        Args:
            identity: changes when the clip does.
            read: decodes it.
        """
        path = Path(self.folder) / f"{hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}.png"
        kept = _load(path)
        if kept is None:
            kept = read()
            _save(kept, path)
        return kept


def _load(path: Path) -> VideoClip | None:
    """Return a kept clip; None where there is none, or no whole one."""
    try:
        with Image.open(path, formats=["PNG"]) as strip:
            strip.load()
            facts = {name: str(strip.info[name]) for name in (COUNT, SECONDS, PLACES)}
            height = strip.height // int(facts[COUNT])
            kept = [strip.crop((0, n * height, strip.width, (n + 1) * height)) for n in range(int(facts[COUNT]))]
            seconds = float(facts[SECONDS]) if facts[SECONDS] else None
            return VideoClip(tuple(kept[int(place)] for place in facts[PLACES].split()), seconds)
    except Exception:  # a file that a full disk or another program has broken is written anew
        return None


def _save(clip: VideoClip, path: Path) -> None:
    """Keep a clip; a disk that is full or must not be written to keeps nothing."""
    distinct = list({id(frame): frame for frame in clip.frames}.values())
    numbers = {id(frame): str(number) for number, frame in enumerate(distinct)}
    width, height = distinct[0].size
    if width * height * len(distinct) > (Image.MAX_IMAGE_PIXELS or 0):
        return
    strip = Image.new("RGB", (width, height * len(distinct)))
    for number, frame in enumerate(distinct):
        strip.paste(frame, (0, number * height))
    facts = PngInfo()
    facts.add_text(COUNT, str(len(distinct)))
    facts.add_text(SECONDS, "" if clip.seconds is None else repr(clip.seconds))
    facts.add_text(PLACES, " ".join(numbers[id(frame)] for frame in clip.frames))
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # several workers may keep the same clip
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            strip.save(partial, format="PNG", pnginfo=facts, compress_level=1)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
