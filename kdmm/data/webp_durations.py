"""How long the frames of an animated WebP are shown, read from its chunks without decoding any."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedIOBase

__all__ = ["webp_durations"]

HEAD = 12  # bytes: RIFF, the size, WEBP
CHUNK_HEAD = 8  # bytes: a name of four letters and the size of what follows
DURATION = 12  # bytes of a frame's chunk before the duration: place and size, three bytes each


def webp_durations(file: BufferedIOBase) -> Iterator[int]:
    """Yield each frame's duration, ms (the container's specification: https://developers.google.com/speed/webp).

    Args:
        file: open for reading; of one that is cut off, the frames whose durations are there.
    """
    file.seek(HEAD)
    while len(head := file.read(CHUNK_HEAD)) == CHUNK_HEAD:
        size = int.from_bytes(head[4:], "little")
        end = file.tell() + size + size % 2  # chunks are padded to an even size
        if head[:4] == b"ANMF":
            frame = file.read(DURATION + 3)
            if len(frame) == DURATION + 3:
                yield int.from_bytes(frame[DURATION:], "little")
        file.seek(end)
