"""Films in files (MP4, WebM, Matroska and so on), read by PyAV."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from io import BufferedIOBase
from types import ModuleType
from typing import Any

from PIL import Image

from kdmm.data.frame_choice import shrunk
from kdmm.errors import InputError
from kdmm.models.video import VideoClip, spread

__all__ = ["FILM_ENDINGS", "av_package", "read_film"]

FILM_ENDINGS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ogv", ".ts", ".flv", ".wmv")
"""How the names of films end; a name that ends otherwise may be a film's too."""

SEEK_S = 2.0  # seconds between two frames from which on looking for a key frame is quicker than decoding all between
TINY_S = 1e-6  # seconds; times are written with less precision than they are computed
SLACK_S = 0.5  # seconds that a film may end before it says
TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # how Matroska states the length of one stream


def av_package() -> ModuleType:
    """Return PyAV.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("av")
    except ImportError:
        raise InputError("Films in files are read by the package av: pip install 'kdmm[video]'") from None


def read_film(file: BufferedIOBase, most: int, size: int) -> VideoClip:
    """Read frames of the first film in a file, at equal distances in time.

    Memory holds the frames that are returned and the one that is being decoded. Between distant frames, decoding begins
    at the key frame before each.

    Args:
        file: open for reading, seekable.
        most: frames.
        size: the shorter side of a frame is shrunk to so many pixels.

    Raises:
        InputError: the file holds no film, or it is broken.
    """
    av = av_package()
    try:
        with av.open(file) as container:
            if not container.streams.video:
                raise InputError("the file holds no moving pictures")
            film = _Film(container, container.streams.video[0], size)
            frames, seconds = film.thinned(most) if film.seconds is None else film.spread(most)
    except InputError:
        raise
    except av.error.InvalidDataError:
        raise InputError("this is no moving picture that can be read, or it is cut off") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise InputError(f"the film is broken: {reason}") from error
    if not frames:
        raise InputError("the film has no frames")
    return VideoClip(tuple(frames), seconds)


@dataclass
class _Film:
    """A film that is open."""

    container: Any
    stream: Any
    size: int

    @property
    def stated(self) -> float | None:
        """How long its pictures are said to be, seconds; None where nothing is said."""
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        tag = TAG.fullmatch(str(self.stream.metadata.get("DURATION", "")).strip())
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) if tag else None

    @property
    def seconds(self) -> float | None:
        """How long it is, sound included where nothing is said of the pictures; None for one written to a pipe."""
        whole = self.container.duration / 1_000_000 if self.container.duration else None  # microseconds
        return self.stated or whole

    def spread(self, most: int) -> tuple[list[Image.Image], float]:
        """Return the frames that are shown at equal distances in time, and the seconds."""
        assert self.seconds is not None
        rate = self.stream.average_rate
        count = most if not rate else min(most, max(1, round(self.seconds * float(rate))))
        return self._shown([(2 * n + 1) * self.seconds / (2 * count) for n in range(count)]), self.seconds

    def _shown(self, times: list[float]) -> list[Image.Image]:
        """Return the frames that are shown at some times, which rise, in seconds from the beginning."""
        start = float((self.stream.start_time or 0) * self.stream.time_base)
        decoded = self.container.decode(self.stream)
        shown: Any = None
        coming = next(decoded, None)
        taken: Any = None
        pictures: list[Image.Image] = []
        for time in times:
            if coming is not None and time + start - _time(coming) > SEEK_S:
                self.container.seek(round((time + start) / self.stream.time_base), stream=self.stream)
                decoded = self.container.decode(self.stream)
                shown, coming = None, next(decoded, None)
            while coming is not None and _time(coming) <= time + start + TINY_S:
                shown, coming = coming, next(decoded, None)
            if coming is None and self.stated and (shown is None or _time(shown) < time + start - SLACK_S):
                raise InputError("the film is cut off")
            at = next((each for each in (shown, coming, taken) if each is not None), None)
            if at is None:
                break
            pictures.append(pictures[-1] if at is taken else _picture(at, self.size))
            taken = at
        return pictures

    def thinned(self, most: int) -> tuple[list[Image.Image], float | None]:
        """Return frames of a film of unknown length, and the seconds up to its last frame.

        Of the frames that come, every n-th is kept; n doubles whenever twice as many are kept as are wanted.
        """
        kept: list[Image.Image] = []
        every, last = 1, None
        for number, frame in enumerate(self.container.decode(self.stream)):
            last = frame
            if number % every == 0:
                kept.append(_picture(frame, self.size))
                if len(kept) == 2 * most:
                    kept, every = kept[::2], 2 * every
        places = spread(len(kept), min(len(kept), most)) if kept else []
        return [kept[place] for place in places], _time(last) or None


def _time(frame: Any) -> float:
    return 0.0 if frame is None or frame.pts is None else float(frame.pts * frame.time_base)


def _picture(frame: Any, size: int) -> Image.Image:
    """Return a frame as RGB, turned as the file says it is to be seen."""
    image = shrunk(frame.to_image(), size)
    turn = round(getattr(frame, "rotation", 0)) % 360  # counterclockwise, as Pillow's
    return image.rotate(turn, expand=True) if turn else image
