"""A picture in a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar, cast

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from kdmm.data.files import identity_of, open_file
from kdmm.errors import InputError

__all__ = ["ImageRef", "as_rgb"]

WHITE = (255, 255, 255)
LYING = (5, 6, 7, 8)  # the EXIF orientations that exchange width and height
OF_16_BITS = ("PNG", "PPM")  # formats whose greys are of 16 bits where Pillow has room for 32; it scales those of PPM

Found = TypeVar("Found")


@dataclass(frozen=True)
class ImageRef:
    """Where an image is; read when it is needed.

    Args:
        path: its file, or the name it had where ``data`` was found.
        data: the file's bytes, or another object with Python's buffer protocol; ``None``: they are in ``path``.
        background: what shows through transparent parts, RGB.
    """

    path: str
    data: Any = field(default=None, repr=False)
    background: tuple[int, int, int] = WHITE

    def open(self) -> Image.Image:
        """Read the image as RGB, turned as its EXIF orientation says.

        Raises:
            InputError: there is no such file, it holds no readable image, or numbers of which nobody knows which is
                white; the message says which, without the path.
        """
        return self._read(lambda image: as_rgb(image, self.background))

    def open_rgba(self) -> Image.Image:
        """Read the image as RGBA, with its transparency in place of the background.

        Raises:
            InputError: as `open`.
        """
        return self._read(lambda image: _as_seen(image).convert("RGBA"))

    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels, as the image is to be seen, from the file's head alone.

        Raises:
            InputError: as `open`.
        """
        return self._read(_size)

    def lies(self) -> bool:
        """Return whether its EXIF data exchange the width and the height that are stored.

        Raises:
            InputError: as `open`.
        """
        return self._read(_lies)

    def _read(self, convert: Callable[[Image.Image], Found]) -> Found:
        with open_file(self.path, self.data) as file:
            try:
                with Image.open(cast(IO[bytes], file)) as image:
                    return convert(image)
            except InputError:
                raise
            except UnidentifiedImageError:
                raise InputError("this is no image that can be read") from None
            except Exception as error:  # Pillow's decoders raise errors of any class on broken files
                reason = str(error).splitlines()[0] if str(error) else repr(error)
                raise InputError(f"the image is broken: {reason}") from error

    def identity(self) -> str:
        """Return what changes when the image does: its file or bytes, and what shows through it."""
        whole = identity_of(self.path, self.data)
        return whole if self.background == WHITE else f"{whole} {self.background}"


def as_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return an open picture, or the frame of it that is reached, as RGB, turned as its EXIF orientation says.

    Args:
        image: as Pillow opened it.
        background: what shows through transparent parts, RGB.

    Raises:
        InputError: its numbers are of a kind of which nobody knows which is white.
    """
    image = _as_seen(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas


def _as_seen(image: Image.Image) -> Image.Image:
    """Return a picture upright and with 8 bits a channel: Pillow would cut others off at 255."""
    of_16_bits = image.mode.startswith("I;16") or (image.mode == "I" and image.format in OF_16_BITS)
    image = _upright(image)
    if of_16_bits:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "integers of 32 bits or with a sign" if image.mode == "I" else "floating-point numbers"
        raise InputError(
            f"its pixels are {kind}, and nothing says which of them is white. Save the picture with 8 or 16 bits, "
            "scaled to their range"
        )
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Return the picture as its EXIF data says it is to be seen; without such data that can be read, as it is."""
    image.load()  # so that an error of the picture itself is not taken for one of its EXIF data
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises errors of any class on broken EXIF data, which other programs ignore
        return image


def _lies(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in LYING
    except Exception:  # as above
        return False


def _size(image: Image.Image) -> tuple[int, int]:
    # of a TIFF Pillow gives the size as it is to be seen
    return image.size[::-1] if _lies(image) and image.format != "TIFF" else image.size
