"""A picture in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, Any, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from kdmm.data.files import identity_of, open_file
from kdmm.errors import InputError

__all__ = ["ImageRef"]

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
        with open_file(self.path, self.data) as file:
            try:
                with Image.open(cast(IO[bytes], file)) as image:
                    return _to_rgb(image, self.background)
            except UnidentifiedImageError:
                raise InputError("this is no image that can be read") from None
            except Exception as error:  # Pillow's decoders raise errors of any class on broken files
                reason = str(error).splitlines()[0] if str(error) else repr(error)
                raise InputError(f"the image is broken: {reason}") from error

    def identity(self) -> str:
        """Return what changes when the image does: its path, size and time of change, or its bytes' hash."""
        return identity_of(self.path, self.data)


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow cuts 16 bits off at 255 where they must be scaled
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas
