"""One image with its captions, or one of the two."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from kdmm.errors import InputError

__all__ = ["BadSample", "ImageRef", "Sample"]

WHITE = (255, 255, 255)


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
        """Read the image as RGB.

        Raises:
            InputError: there is no such file, or it holds no readable image; the message says which, without the path.
        """
        try:
            with Image.open(self.path if self.data is None else io.BytesIO(self.data)) as image:
                return _to_rgb(image, self.background)
        except FileNotFoundError:
            raise InputError("there is no such file") from None
        except IsADirectoryError:
            raise InputError("this is a folder, no file") from None
        except PermissionError:
            raise InputError("this file may not be read") from None
        except UnidentifiedImageError:
            raise InputError(self._unidentified()) from None
        except Exception as error:  # Pillow's decoders raise errors of any class on broken files
            raise InputError(
                f"the image is broken: {str(error).splitlines()[0] if str(error) else repr(error)}"
            ) from error

    def identity(self) -> str:
        """Return what changes when the image does: its path, size and time of change, or its bytes' hash."""
        if self.data is not None:
            return f"{self.path} {hash_bytes(self.data)}"
        try:
            status = Path(self.path).stat()
        except OSError:
            return self.path
        return f"{self.path} {status.st_size} {status.st_mtime_ns}"

    def _unidentified(self) -> str:
        size = Path(self.path).stat().st_size if self.data is None else len(bytes(self.data))
        return "this is no image that can be read" if size else "the file is empty"


def hash_bytes(data: Any) -> str:
    """Return a hash of an object with the buffer protocol."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow cuts 16 bits off at 255 where they must be scaled
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas


@dataclass(frozen=True)
class Sample:
    """An image and what is said of it.

    Args:
        id: unique in its source.
        image: ``None`` for text without a picture.
        captions: none for a picture without text.
        group: the concept it shows; samples of one concept are on one side of a split. ``None``: it stands alone.
        labels: class numbers by the label's name.
        origin: the file and row it comes from, for messages.
    """

    id: str
    image: ImageRef | None
    captions: tuple[str, ...]
    group: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    origin: str = ""


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be read.

    Args:
        id: the sample's.
        origin: the file and row it comes from.
        reason: what is wrong with it.
    """

    id: str
    origin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"
