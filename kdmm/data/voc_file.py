"""One of Pascal VOC's XML files: the objects of one picture, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as Xml

from kdmm.data.box_marks import Box, checked_box, turn_of
from kdmm.data.image_ref import ImageRef
from kdmm.errors import InputError

__all__ = ["SETTING", "VocFile", "read_voc"]

SETTING = "PascalVOC.annotations"
PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif")


@dataclass(frozen=True)
class VocFile:
    """What a file says.

    Args:
        path: the file.
        picture: the picture's file.
        size: (width, height) of the picture as it is seen, pixels.
        boxes: of its objects.
        names: of their classes.
        skipped: how many boxes are left out, because they are bad.
    """

    path: Path
    picture: Path
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    names: tuple[str, ...]
    skipped: int


def read_voc(
    path: Path, images: Path, first_pixel: Literal[0, 1], difficult: bool, bad_boxes: Literal["stop", "skip"]
) -> VocFile:
    """Read and check a file.

    Args:
        path: the file.
        images: the folder of the pictures.
        first_pixel: the number of the leftmost and topmost one.
        difficult: whether objects that are marked so are taken too.
        bad_boxes: whether one stops the run or is left out.

    Raises:
        InputError: it is not as Pascal VOC's are, or its picture is missing or of another size.
    """
    try:
        root = Xml.parse(path).getroot()
    except Xml.ParseError as error:
        raise InputError(f"{SETTING}: {path} is not XML: {error}. Mend it or take it out of the folder.") from error
    picture = _picture(root, path, images)
    image = ImageRef(str(picture))
    try:
        size = image.size()
    except InputError as error:
        raise InputError(f"{SETTING}: {path} is of {picture}: {error}. Mend the picture.") from error
    stated = _number(root, "size/width", path, "the picture"), _number(root, "size/height", path, "the picture")
    if stated != size:
        remedy = turn_of(image, stated) or ". Give the picture that was annotated"
        raise InputError(
            f"{SETTING}: {path} is of a picture of {stated[0]:g} x {stated[1]:g} pixels, and {picture} has {size[0]} x "
            f"{size[1]}{remedy}."
        )
    boxes: list[Box] = []
    names: list[str] = []
    skipped = 0
    for place, node in enumerate(root.iter("object")):
        entry = f"object {place + 1}"
        if (node.findtext("difficult") or "0").strip() == "1" and not difficult:
            continue
        name = (node.findtext("name") or "").strip()
        if not name:
            raise InputError(f"{SETTING}: {path}: {entry} has no `name`. Give it its class.")
        given = [_number(node, f"bndbox/{side}", path, entry) for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            boxes.append(checked_box([given[0] - first_pixel, given[1] - first_pixel, *given[2:]], *size))
            names.append(name)
        except InputError as error:
            if bad_boxes == "stop":
                raise InputError(
                    f"{SETTING}: {path}: {entry} ({name}) has the box {given}, which {error}. Correct it, or set "
                    "`bad_boxes: skip`."
                ) from error
            skipped += 1
    return VocFile(path, picture, size, tuple(boxes), tuple(names), skipped)


def _picture(root: Xml.Element, path: Path, images: Path) -> Path:
    """Return the picture that the file names, or the one that is called as the file is."""
    named = (root.findtext("filename") or "").strip()
    candidates = ([images / named] if named else []) + [images / f"{path.stem}{ending}" for ending in PICTURES]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{SETTING}: {path} is of the picture {named or path.stem!r}, which is not in {str(images)!r}. Set `images` to "
        "the folder that holds it."
    )


def _number(node: Xml.Element, place: str, path: Path, entry: str) -> float:
    text = node.findtext(place)
    try:
        return float(text or "")
    except ValueError:
        given = "is missing" if text is None else f"is {text!r}"
        raise InputError(f"{SETTING}: {path}: {place} of {entry} {given}. Give a number of pixels.") from None
