"""Pictures in a folder for each class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from kdmm.data.by_split import BySplit
from kdmm.data.files import existing_folder
from kdmm.data.fractions import Fractions
from kdmm.data.image_ref import ImageRef
from kdmm.data.mask_folder import PICTURES
from kdmm.data.sample import Sample
from kdmm.data.source import Split
from kdmm.data.split_files import is_split, split_named
from kdmm.errors import InputError

__all__ = ["ImageFolder"]


class ImageFolder(BySplit):
    r"""Pictures by class, ``<class>/*.jpg``, or by split and class, ``train/<class>/*.jpg``, as ImageNet is unpacked.

    The folders' names are the classes, numbered by the alphabet over all splits. Pictures may lie in folders below
    their class's; other files are left aside. An id is the picture's path below ``folder``.

    Args:
        folder: that holds a folder for each class, or one for each of ``train``, ``val`` and ``test`` with these.
        label: what the class is called.
        fractions: of the train split's pictures that are for ``val`` and for ``test``, such as ``{val: 0.1}``. A
            picture's part depends on its path, or group, alone: pictures that are added move no other.
        group: a regular expression whose first pair of parentheses finds, in the path below the class's folder, what
            pictures of one thing share, such as ``^(patient\d+)_``; they stay on one side of ``fractions``. ``None``:
            each picture stands alone.

    Raises:
        InputError: what is set cannot be, or the folder is not as described; the message names what is wrong.
    """

    def __init__(
        self,
        folder: str | Path,
        label: str = "label",
        fractions: Mapping[str, float | int] | None = None,
        group: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.label = label
        self.fractions = Fractions(fractions, "ImageFolder.fractions", "image folder split")
        self.group = group
        if group is not None and not _groups(group):
            raise InputError(
                f"ImageFolder.group: {group!r} is no regular expression with parentheses around what pictures of one "
                "thing share, such as '^(.+)_[0-9]+'."
            )

    def __str__(self) -> str:
        return f"ImageFolder({self.folder.name})"

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the folders."""
        return {self.label: tuple(sorted({place.name for places in self._places.values() for place in places}))}

    def read_all(self) -> dict[Split, list[Sample]]:
        """Find the pictures."""
        numbers = {name: number for number, name in enumerate(self.classes[self.label])}
        found: dict[Split, list[Sample]] = {}
        for split, places in self._places.items():
            for place in places:
                pictures = sorted(path for path in place.rglob("*") if _is_picture(path))
                if not pictures:
                    raise InputError(
                        f"ImageFolder.folder: {str(place)!r} holds no picture ({', '.join(sorted(PICTURES))}). Fill "
                        "the folder, or remove it."
                    )
                for path in pictures:
                    sample = self._sample(path, place, numbers[place.name])
                    found.setdefault(self._split(sample, place, split), []).append(sample)
        return found

    @cached_property
    def _places(self) -> dict[Split, list[Path]]:
        """The classes' folders by split."""
        inside = _folders(existing_folder(self.folder, "ImageFolder.folder"))
        named = [place for place in inside if is_split(place.name)]
        if named and len(named) < len(inside):
            other = next(place for place in inside if place not in named)
            raise InputError(
                f"ImageFolder.folder: {str(self.folder)!r} holds {named[0].name!r}, a split, beside {other.name!r}, "
                "which is none. Give each split its folder with the classes in it, or rename the class."
            )
        by_split: dict[Split, list[Path]] = {}
        for place in named:
            by_split.setdefault(split_named(place.name, str(place)), []).extend(_folders(place))
        return by_split if named else {"train": inside}

    def _split(self, sample: Sample, place: Path, split: Split) -> Split:
        below = Path(sample.origin).relative_to(place.parent).as_posix()
        return (
            self.fractions.split(below if sample.group is None else f"group {sample.group}")
            if split == "train"
            else split
        )

    def _sample(self, path: Path, place: Path, number: int) -> Sample:
        group = None
        if self.group is not None:
            below = path.relative_to(place).as_posix()
            match = re.search(self.group, below)
            if match is None or not match[1]:
                raise InputError(
                    f"ImageFolder.group: {self.group!r} finds nothing in {below!r} of {str(place)!r}. Change it."
                )
            group = match[1]
        name = path.relative_to(self.folder).as_posix()
        return Sample(name, ImageRef(str(path)), group=group, labels={self.label: number}, origin=str(path))


def _folders(folder: Path) -> list[Path]:
    """Return the folders that a folder holds; pictures beside them are of no class."""
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    loose = next((path for path in inside if _is_picture(path)), None)
    if loose is not None:
        raise InputError(f"ImageFolder.folder: {str(loose)!r} lies in no class's folder. Move it into one.")
    found = [path for path in inside if path.is_dir()]
    if not found:
        raise InputError(
            f"ImageFolder.folder: {str(folder)!r} holds no folders. Give each class its folder of pictures."
        )
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and not path.is_dir()


def _groups(pattern: str) -> int:
    try:
        return re.compile(pattern).groups
    except re.error:
        return 0
