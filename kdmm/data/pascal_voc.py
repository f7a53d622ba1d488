"""Objects in Pascal VOC's XML files, one a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from kdmm.data.box_marks import BoxMarks
from kdmm.data.by_split import BySplit
from kdmm.data.class_values import Classes
from kdmm.data.files import existing_folder
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Split
from kdmm.data.text_lines import read_lines
from kdmm.data.tiles import TileRef, boxes_within, cells, region
from kdmm.data.voc_file import SETTING, VocFile, read_voc
from kdmm.errors import InputError, nearest
from kdmm.models.files import locate

__all__ = ["PascalVOC"]


class PascalVOC(BySplit):
    """Pictures with their objects' boxes (Everingham et al. 2010, https://doi.org/10.1007/s11263-009-0275-4).

    For VOC 2012, with its folder ``VOCdevkit/VOC2012``: ``annotations`` its ``Annotations``, ``images`` its
    ``JPEGImages``, ``lists`` ``{train: .../ImageSets/Main/train.txt, val: .../ImageSets/Main/val.txt}``. Other tools
    write the same files, such as those of :class:`kdmm.data.DeepForest`.

    Class names are under ``box_classes`` (`kdmm.data.ClassNames`). All files are read and checked before training.

    Args:
        annotations: the folder of the XML files, or ``package:<module>/<path>``.
        images: the folder of the pictures; ``None``: the same.
        lists: text files with the names of a split's pictures, one a line, without ending; what follows a name is not
            read. ``None``: all pictures are for training, or with ``tiles`` each picture's left three fifths, the next
            fifth for validation and the last for testing.
        classes: their names in the order of their numbers; ``None``: those that the files have, sorted.
        rename: classes that count as another, by name.
        first_pixel: the number of a picture's first one: 1 in VOC, 0 in the files of most other tools.
        difficult: also takes objects that are marked ``difficult``, which VOC's evaluation leaves out.
        tiles: cuts each picture into tiles of about this side, pixels, with the boxes that lie in them by half or more;
            for few and large pictures. ``None``: pictures stay whole.
        bad_boxes: whether a box without an area or outside its picture stops the run or is left out, which
            ``describe`` counts.

    Raises:
        InputError: an unknown split, a class given twice, or tiles of less than 8 pixels. Reading: a file that is not
            as VOC's are; the message names it and the object.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        lists: Mapping[str, str] | None = None,
        classes: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        first_pixel: Literal[0, 1] = 1,
        difficult: bool = False,
        tiles: int | None = None,
        bad_boxes: Literal["stop", "skip"] = "stop",
    ) -> None:
        self.annotations = annotations
        self.images = images
        self.lists = None if lists is None else dict(lists)
        self.given_classes = None if classes is None else Classes(classes, "PascalVOC.classes").names
        self.rename = dict(rename or {})
        self.first_pixel = first_pixel
        self.difficult = difficult
        self.tiles = tiles
        self.bad_boxes = bad_boxes
        for split in self.lists or ():
            if split not in SPLITS:
                raise InputError(
                    f"PascalVOC.lists: unknown split {split!r}. Accepted: {', '.join(SPLITS)}." + nearest(split, SPLITS)
                )
        if tiles is not None and tiles < 8:
            raise InputError(f"PascalVOC.tiles: {tiles} given; give the side of a tile in pixels, 8 or more, or null.")

    def __str__(self) -> str:
        return f"PascalVOC({str(self.annotations)!r})"

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of ``box_classes``."""
        return {"box_classes": self._names}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name, the tiles' side, and how many boxes are left out, if there are."""
        skipped = sum(file.skipped for file in self._files.values())
        return {
            **super().describe(split),
            **({"tiles": self.tiles} if self.tiles else {}),
            **({"bad_boxes_left_out": skipped} if skipped else {}),
        }

    @property
    def folder(self) -> Path:
        """Where the XML files are."""
        return Path(locate(str(self.annotations)))

    @cached_property
    def _listed(self) -> dict[Split, list[str]]:
        """The names of the pictures by split; without lists, all of them for training."""
        folder = existing_folder(self.folder, SETTING)
        if self.lists is None:
            found = sorted(path.stem for path in folder.glob("*.xml"))
            if not found:
                raise InputError(f"{SETTING}: {str(folder)!r} holds no XML file. Give the folder that does.")
            return {"train": found}
        listed: dict[Split, list[str]] = {}
        for split in SPLITS:
            if split in self.lists:
                path = Path(self.lists[split])
                lines = read_lines(path, f"PascalVOC.lists.{split}")
                listed[split] = [line.split()[0] for line in lines if line.strip()]
                for name in listed[split]:
                    if not (folder / f"{name}.xml").is_file():
                        raise InputError(
                            f"PascalVOC.lists.{split}: {path} lists {name!r}, and {str(folder)!r} has no {name}.xml. "
                            "Take the name out, or give the folder that has it."
                        )
        return listed

    @cached_property
    def _files(self) -> dict[str, VocFile]:
        folder = self.folder
        images = folder if self.images is None else existing_folder(Path(locate(str(self.images))), "PascalVOC.images")
        names = dict.fromkeys(name for listed in self._listed.values() for name in listed)
        return {
            name: read_voc(folder / f"{name}.xml", images, self.first_pixel, self.difficult, self.bad_boxes)
            for name in names
        }

    @cached_property
    def _names(self) -> tuple[str, ...]:
        written = {name: file for file in reversed(self._files.values()) for name in file.names}
        for name in self.rename:
            if name not in written:
                raise InputError(
                    f"PascalVOC.rename: no object is of the class {name!r}; there are {', '.join(sorted(written))}."
                    + nearest(name, written)
                )
        found = {self.rename.get(name, name): file for name, file in written.items()}
        if self.given_classes is None:
            return tuple(sorted(found))
        for name, file in found.items():
            if name not in self.given_classes:
                raise InputError(
                    f"PascalVOC.classes: {file.path} has an object of the class {name!r}, which is not among "
                    f"{', '.join(self.given_classes)}. Add it, or `rename` it." + nearest(name, self.given_classes)
                )
        return self.given_classes

    def read_all(self) -> dict[Split, list[Sample]]:
        """Read the pictures, or their tiles."""
        found: dict[Split, list[Sample]] = {}
        for split, names in self._listed.items():
            for name in names:
                file = self._files[name]
                whole = (0, 0, *file.size)
                parts = [whole] if self.tiles is None else cells(*file.size, self.tiles)
                for place, cell in enumerate(parts):
                    cut = self.tiles is not None and self.lists is None
                    where = region(place, len(parts)) if cut else split
                    found.setdefault(where, []).append(self._sample(file, cell, cell != whole))
        return found

    def _sample(self, file: VocFile, cell: tuple[int, int, int, int], is_tile: bool) -> Sample:
        numbers = {name: number for number, name in enumerate(self._names)}
        inside = boxes_within(file.boxes, cell)
        image = ImageRef(str(file.picture))
        names = [file.names[place] for place, _ in inside]
        return Sample(
            id=f"{file.path.stem}@{cell[0]},{cell[1]}" if is_tile else file.path.stem,
            image=TileRef(image, cell) if is_tile else image,
            marks=BoxMarks(
                tuple(box for _, box in inside), tuple(numbers[self.rename.get(name, name)] for name in names)
            ),
            origin=str(file.path),
        )
