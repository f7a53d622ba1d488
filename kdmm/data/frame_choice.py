"""Which frames of moving pictures are read: few enough for the memory, and at equal distances in time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from PIL import Image

from kdmm.models.video import spread

__all__ = ["evenly", "shrunk"]


def evenly(durations: Sequence[float | int], most: int) -> Sequence[int]:
    """Return places of frames that are shown at equal distances in time.

    Frames that last equally long are each taken, or ``most`` of them spread evenly. Where they differ, there are as
    many places as the shortest frame fits into the whole, and a frame that lasts longer comes several times.

    Args:
        durations: how long each frame is shown, in any unit; all 0: nothing is known.
        most: places.
    """
    lasting = [each for each in durations if each > 0]
    if not lasting or len(set(durations)) == 1:
        return spread(len(durations), min(len(durations), most))
    ends = list(accumulate(durations))
    count = min(max(1, round(ends[-1] / min(lasting))), most)
    return [bisect_right(ends, (2 * n + 1) * ends[-1] / (2 * count)) for n in range(count)]


def shrunk(image: Image.Image, size: int) -> Image.Image:
    """Return a picture whose shorter side is ``size`` pixels at most; a smaller one as it is."""
    width, height = image.size
    scale = size / min(width, height)
    if scale >= 1:
        return image
    return image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)
