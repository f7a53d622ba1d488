"""Moving pictures in files: animated WebP, GIF and PNG, folders of frames, and films."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any, cast

from PIL import Image, UnidentifiedImageError

from kdmm.data.files import hash_bytes, identity_of, open_file, state_of
from kdmm.data.frame_choice import evenly, shrunk
from kdmm.data.frame_store import FrameStore
from kdmm.data.image_ref import WHITE, ImageRef, as_rgb
from kdmm.data.video_file import FILM_ENDINGS, av_package, read_film
from kdmm.data.webp_durations import webp_durations
from kdmm.errors import InputError
from kdmm.models.video import VideoClip, spread

__all__ = ["VideoRef"]

PICTURES = ("WEBP", "GIF", "PNG", "JPEG", "AVIF", "TIFF", "BMP")  # Pillow also takes the first frame of MPEG for one
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True)
class VideoRef:
    """Where moving pictures are; read when they are needed.

    The content tells the format, not the name. A still picture is a clip of one frame. Of any length of film, no more
    than ``frames`` frames are in memory, shrunk as they are decoded.

    Args:
        path: a file, a folder with a picture a frame, in the order of their names with numbers as numbers, or the name
            it had where ``data`` was found.
        data: the file's bytes, or another object with Python's buffer protocol; ``None``: they are in ``path``.
        frames: how many are read at most, at equal distances in time; a model takes its own number of these.
        size: the shorter side of a frame is shrunk to so many pixels, if it is longer.
        background: what shows through transparent parts, RGB.
        store: keeps the frames on a disk, once they are decoded; ``None``: they are decoded each time.

    Raises:
        InputError: ``frames`` or ``size`` below 1, or a film by its name, and the package that reads films is missing.
    """

    path: str
    data: Any = field(default=None, repr=False)
    frames: int = 64
    size: int = 256
    background: tuple[int, int, int] = WHITE
    store: FrameStore | None = None

    def __post_init__(self) -> None:
        for setting, value in (("frames", self.frames), ("size", self.size)):
            if value < 1:
                raise InputError(f"VideoRef.{setting}: {value} given; give 1 or more.")
        if self.path.lower().endswith(FILM_ENDINGS):
            av_package()  # here, so that a missing package is not taken for bad samples

    def open(self) -> VideoClip:
        """Read the frames as RGB.

        Raises:
            InputError: there is no such file or folder, or it holds nothing readable; the message says which, without
                the path.
        """
        if self.store is None:
            return self._read()
        return self.store.get(self._told(state_of), self._read)

    def identity(self) -> str:
        """Return what changes when the clip does: its files or bytes, and what is read of them."""
        return self._told(identity_of)

    def _told(self, of: Callable[[str, Any], str]) -> str:
        """Return what is told of its files or bytes, and what is read of them."""
        read = f"{self.frames} {self.size} {self.background}"
        folder = Path(self.path)
        if self.data is None and folder.is_dir():
            files = "\n".join(of(str(path), None) for path in _pictures(folder)).encode("utf-8", "surrogatepass")
            return f"{hash_bytes(files)} {read}"
        return f"{of(self.path, self.data)} {read}"

    def _read(self) -> VideoClip:
        if self.data is None and Path(self.path).is_dir():
            return self._folder(_pictures(Path(self.path)))
        with open_file(self.path, self.data) as file:
            Image.init()
            try:
                with Image.open(
                    cast(IO[bytes], file), formats=[each for each in PICTURES if each in Image.OPEN]
                ) as image:
                    return self._animation(image, file)
            except InputError:
                raise
            except UnidentifiedImageError:
                pass
            except Exception as error:  # Pillow's decoders raise errors of any class on broken files
                reason = str(error).splitlines()[0] if str(error) else repr(error)
                raise InputError(f"the clip is broken: {reason}") from error
            file.seek(0)
            return read_film(file, self.frames, self.size)

    def _animation(self, image: Image.Image, file: BufferedIOBase) -> VideoClip:
        count = int(getattr(image, "n_frames", 1))
        durations = _durations(image, file, count) if count > 1 else [0]
        places = evenly(durations, self.frames)
        found: dict[int, Image.Image] = {}
        for place in dict.fromkeys(places):
            image.seek(place)
            found[place] = shrunk(as_rgb(image, self.background), self.size)
        seconds = sum(durations) / 1000
        return VideoClip(tuple(found[place] for place in places), seconds or None)

    def _folder(self, files: list[Path]) -> VideoClip:
        if not files:
            raise InputError(f"the folder holds no pictures ({', '.join(ENDINGS)})")
        found = []
        for place in spread(len(files), min(len(files), self.frames)):
            try:
                image = ImageRef(str(files[place]), None, self.background).open()
            except InputError as error:
                raise InputError(f"the frame {files[place].name}: {error}") from error
            found.append(shrunk(image, self.size))
            if found[-1].size != found[0].size:
                raise InputError(
                    f"the frame {files[place].name} is {found[-1].size[0]} x {found[-1].size[1]} pixels large, and the "
                    f"first one {found[0].size[0]} x {found[0].size[1]}"
                )
        return VideoClip(tuple(found))


def _durations(image: Image.Image, file: BufferedIOBase, count: int) -> list[float | int]:
    """Return how long each frame is shown, ms."""
    if image.format == "WEBP":  # Pillow would decode every frame to tell
        place = file.tell()
        try:
            found: list[float | int] = list(webp_durations(file))
        finally:
            file.seek(place)
        return found if len(found) == count else [0] * count
    found = []
    for place in range(count):
        image.seek(place)
        found.append(image.info.get("duration", 0))
    return found


def _pictures(folder: Path) -> list[Path]:
    """Return a folder's pictures in the order of their names, with numbers as numbers."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith(".")]
    return sorted(found, key=lambda path: [(int(part), "") if part.isdigit() else (-1, part) for part in _parts(path)])


def _parts(path: Path) -> list[str]:
    return [part for part in NUMBER.split(path.name) if part]
