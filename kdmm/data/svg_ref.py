"""Drawings in SVG files."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

from PIL import Image

from kdmm.data.files import identity_of, open_file, state_of
from kdmm.data.image_ref import WHITE, ImageRef
from kdmm.errors import InputError

__all__ = ["SvgRef"]

DPI = 96  # a CSS inch; it gives drawings sized in points or millimetres their pixels
REMEMBERED = 512  # drawings, about 50 kB each: to draw one takes several times longer than to decode it


@dataclass(frozen=True)
class SvgRef:
    """Where a drawing is; drawn at its own size when it is needed. Needs ``pip install 'kdmm[svg]'``.

    Text in it is not drawn: fonts differ from machine to machine.

    Args:
        path: its file.
        background: what shows through transparent parts, RGB.

    Raises:
        InputError: the package that draws is missing.
    """

    path: str
    background: tuple[int, int, int] = WHITE

    def __post_init__(self) -> None:
        _resvg()  # here, so that a missing package is not taken for bad samples

    def open(self) -> Image.Image:
        """Draw it as RGB.

        Raises:
            InputError: there is no such file, or it holds no drawing; the message says which, without the path.
        """
        return self._drawn().open()

    def open_rgba(self) -> Image.Image:
        """Draw it as RGBA, with its transparency in place of the background.

        Raises:
            InputError: as `open`.
        """
        return self._drawn().open_rgba()

    def _drawn(self) -> ImageRef:
        open_file(self.path, None).close()
        return ImageRef(self.path, _png(self.path, state_of(self.path, None)), self.background)

    def identity(self) -> str:
        """Return what changes when the drawing does: its file, and what shows through it."""
        whole = identity_of(self.path, None)
        return whole if self.background == WHITE else f"{whole} {self.background}"


@lru_cache(maxsize=REMEMBERED)
def _png(path: str, state: str) -> bytes:
    """Draw a file; ``state`` tells its states apart."""
    try:
        return bytes(_resvg().svg_to_bytes(svg_path=path, dpi=DPI, skip_system_fonts=True))
    except ValueError as error:
        reason = str(error).replace(path, "file")
        raise InputError(f"this is no SVG drawing that can be read: {reason}") from error


def _resvg() -> ModuleType:
    try:
        return importlib.import_module("resvg_py")
    except ImportError:
        raise InputError("SVG drawings are drawn by the package resvg-py: pip install 'kdmm[svg]'") from None
