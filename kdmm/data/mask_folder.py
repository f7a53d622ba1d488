"""Pictures in a folder, and the class of every pixel in PNG files of the same names in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kdmm.data.files import existing_folder, identity_of, open_file
from kdmm.data.image_ref import ImageRef
from kdmm.data.marks import UNLABELLED, Marks
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.data.text_lines import read_lines
from kdmm.errors import InputError, nearest

__all__ = ["MaskFolder", "MaskRef"]

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MASK = ".png"
NUMBERS = ("P", "L", "1", "I;16", "I")
"""Pillow's modes of pictures whose pixels are one number each: of a palette, or grey."""
PLACE = "{split}"


@dataclass(frozen=True)
class MaskRef:
    """Where a picture's classes are: a PNG of class numbers.

    Args:
        path: its file, with a palette or grey.
        image: the picture that it belongs to.
        classes: how many there are.
        ignore: the number of the pixels that do not count; the others, in their order, are the classes.
    """

    path: str
    image: ImageRef
    classes: int
    ignore: int = UNLABELLED

    def open(self) -> Marks:
        """Read the map.

        Raises:
            InputError: it cannot be read, is of another size than the picture, or holds a number that is no class.
        """
        numbers = self._numbers()
        size, seen = self.image.size(), numbers.shape[::-1]
        if size != seen:
            turned = (
                " The picture's EXIF data turn it: turn the mask alike."
                if size == seen[::-1] and self.image.lies()
                else ""
            )
            raise InputError(
                f"the mask {self.path} is {seen[0]} x {seen[1]} pixels and the picture {size[0]} x {size[1]}.{turned} "
                "Give both the same size; resize masks by the nearest pixel"
            )
        named = [number for number in range(self.classes + 1) if number != self.ignore][: self.classes]
        wrong = sorted(set(np.unique(numbers).tolist()) - {*named, self.ignore})
        if wrong:
            raise InputError(
                f"the mask {self.path} holds the number {wrong[0]}, and `classes` names {self.classes}, {named[0]} to "
                f"{named[-1]}. Name them all, or give these pixels {self.ignore}, which counts as unlabelled"
            )
        classes = np.where(numbers == self.ignore, UNLABELLED, numbers - (numbers > self.ignore))
        return Marks.of_map(torch.from_numpy(classes))

    def identity(self) -> str:
        """Return what changes when the classes of pixels do: the mask's file, and which number does not count."""
        other = "" if self.ignore == UNLABELLED else f" without {self.ignore}"
        return f"{identity_of(self.path, None)}{other}"

    def _numbers(self) -> NDArray[Any]:
        """Return the pixels (H, W), int64."""
        try:
            with open_file(self.path, None) as file, Image.open(cast(IO[bytes], file)) as mask:
                mode, numbers = mask.mode, np.asarray(mask)
        except InputError as error:
            raise InputError(f"the mask {self.path}: {error}") from error
        except Exception as error:  # Pillow's decoders raise errors of any class on broken files
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise InputError(f"the mask {self.path} is no picture that can be read: {reason}") from error
        if mode not in NUMBERS:
            raise InputError(
                f"the mask {self.path} is in colour ({mode}). Save class numbers, as a PNG with a palette or in grey"
            )
        return numbers.astype(np.int64)


class MaskFolder(Source):
    """Pictures and masks of the same names, such as ``images/train/a/1.jpg`` and ``masks/train/a/1.png``.

    A mask's pixels are class numbers, in grey or by a palette's places; 255 is a pixel that nobody labelled, or another
    number (``ignore``). A picture is read as its EXIF data turn it. With ``names`` the splits are lists of names, one a
    line without ending, as in Pascal VOC: ``images: JPEGImages``, ``masks: SegmentationClass``, ``names:
    ImageSets/Segmentation/{split}.txt``. Of pictures alone, for a model to learn from its teacher, set ``masks: null``.

    Args:
        folder: that holds everything.
        classes: their names, in the order of their numbers in the masks.
        images: folder of the pictures below ``folder``; ``{split}`` stands for the split's name.
        masks: folder of the masks, likewise; ``None``: there are none.
        names: the file that lists a split's pictures, likewise; ``None`` takes all that are in its folder.
        splits: what a split is called on the disk, such as ``{val: validation}``; others have their own names.
        check: read all masks once before training, so that a broken one shows then; else it does when it comes.
        ignore: the number of the pixels that nobody labelled. Classes are counted without it: with 0, as in ADE20K, the
            pixels of the first class are 1. In batches these pixels are 255 and the first class is 0, whatever it is.

    Raises:
        InputError: a file or folder is missing, or a mask is broken; the message names it.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str],
        images: str = "images/{split}",
        masks: str | None = "masks/{split}",
        names: str | None = None,
        splits: Mapping[str, str] | None = None,
        check: bool = True,
        ignore: int = UNLABELLED,
    ) -> None:
        self.folder = Path(folder)
        self.names = names
        self.images = images
        self.masks = masks
        self.check = check
        self.ignore = ignore
        self.calls: dict[str, str] = {**{split: split for split in SPLITS}, **(splits or {})}
        self._classes = tuple(classes)
        if not 2 <= len(self._classes) <= UNLABELLED or len(set(self._classes)) < len(self._classes):
            raise InputError(
                f"MaskFolder.classes: {list(classes)} given; give 2 to {UNLABELLED} different names, the background "
                "among them if it is a class."
            )
        if not 0 <= ignore <= UNLABELLED:
            raise InputError(
                f"MaskFolder.ignore: {ignore} given; give the number of pixels that do not count, 0 to {UNLABELLED}."
            )
        for split in self.calls:
            if split not in SPLITS:
                raise InputError(
                    f"MaskFolder.splits: {split!r} given; give names for {', '.join(SPLITS)}.{nearest(split, SPLITS)}"
                )
        if PLACE not in (images if names is None else names):
            setting = "images" if names is None else "names"
            raise InputError(
                f"MaskFolder.{setting}: {images if names is None else names!r} is the same for every split. Write "
                f"{PLACE} where the split's name stands, or give `names`, a list of pictures for each split."
            )

    def __str__(self) -> str:
        return f"MaskFolder({self.folder.name})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those whose folder of pictures, or whose list, is there."""
        existing_folder(self.folder, "MaskFolder.folder")
        return tuple(split for split in SPLITS if self._place(self.names or self.images, split).exists())

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``label_map``, where there are masks."""
        return {} if self.masks is None else {"label_map": self._classes}

    def read(self, split: Split) -> list[Sample]:
        """Find the pictures of a split and their masks, and look at each mask if that is asked for."""
        pictures = self._pictures(split)
        chosen = list(pictures) if self.names is None else self._listed(split, pictures)
        return [self._sample(name, pictures[name], split) for name in chosen]

    def _sample(self, name: str, picture: Path, split: Split) -> Sample:
        image = ImageRef(str(picture))
        marks = None if self.masks is None else self._mask(name, image, split)
        return Sample(id=f"{split}/{name}", image=image, origin=str(picture), marks=marks)

    def _mask(self, name: str, image: ImageRef, split: Split) -> MaskRef:
        assert self.masks is not None
        folder = existing_folder(self._place(self.masks, split), "MaskFolder.masks")
        path = folder / f"{name}{MASK}"
        if not path.is_file():
            raise InputError(
                f"MaskFolder.masks: {image.path} has no mask {path}. Add it, or move the picture to a source of its "
                "own with `masks: null`."
            )
        mask = MaskRef(str(path), image, len(self._classes), self.ignore)
        if self.check:
            try:
                mask.open()
            except InputError as error:
                raise InputError(f"MaskFolder: {image.path}: {error}.") from error
        return mask

    def _pictures(self, split: Split) -> dict[str, Path]:
        """Return the pictures by their name below the folder, without ending, in the order of the names."""
        folder = existing_folder(self._place(self.images, split), "MaskFolder.images")
        found: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in PICTURES and not path.name.startswith("."):
                other = found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
                if other != path:
                    raise InputError(f"MaskFolder.images: {other} and {path} have one name. Rename one of them.")
        return found

    def _listed(self, split: Split, pictures: Mapping[str, Path]) -> list[str]:
        """Return the names in a split's list."""
        assert self.names is not None
        path = self._place(self.names, split)
        lines = read_lines(path, "MaskFolder.names")
        listed = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
        for number, name in listed:
            if name not in pictures:
                raise InputError(
                    f"MaskFolder.names: {path}, line {number}: {self._place(self.images, split)} has no picture "
                    f"{name!r}. Write names without ending, one a line.{nearest(name, pictures)}"
                )
        return [name for _, name in listed]

    def _place(self, below: str, split: Split) -> Path:
        return self.folder / below.replace(PLACE, self.calls[split])
