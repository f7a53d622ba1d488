"""One of COCO's JSON files of objects, checked entry by entry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdmm.data.box_marks import Box, BoxMarks, SizedImage, checked_box
from kdmm.data.coco_masks import Elsewhere, MaskMarks, checked_segmentation
from kdmm.data.image_ref import ImageRef
from kdmm.data.json_text import parsed_json
from kdmm.data.sample import Sample
from kdmm.data.tables import existing_file
from kdmm.errors import InputError, nearest

__all__ = ["SETTING", "CocoObjects"]

SETTING = "CocoDetection.annotations"


class CocoObjects:
    """One JSON file of COCO's objects, read and checked.

    Args:
        path: the file.
        folder: of its pictures.
        masks: whether segmentations are read.
        label_map: as for :class:`kdmm.data.CocoDetection`.
        skip: whether bad boxes are left out.

    Attributes:
        names: of the classes, in the order of their numbers.
        samples: the pictures with their marks.
        skipped: how many boxes are left out.

    Raises:
        InputError: the file is not as COCO's are; the message names the entry.
    """

    def __init__(self, path: Path, folder: Path, masks: bool, label_map: Elsewhere | None, skip: bool) -> None:
        self.path, self.folder, self.masks, self.label_map, self.skip = path, folder, masks, label_map, skip
        self.skipped = 0
        rows = self._tables()
        categories = self._by_id("categories", rows["categories"])
        self.numbers = {each: number for number, each in enumerate(sorted(categories))}
        self.names = tuple(str(self._of(categories[each], "name", f"category {each}")) for each in sorted(categories))
        self._check_names()
        self.images = self._by_id("images", rows["images"])
        self.of_image: dict[Any, list[tuple[Mapping[str, Any], str]]] = {each: [] for each in self.images}
        self.crowds: dict[Any, list[tuple[Mapping[str, Any], str]]] = {each: [] for each in self.images}
        seen: set[str] = set()
        for place, row in enumerate(rows["annotations"]):
            entry = f"annotation {row.get('id', f'at place {place}')}"
            if entry in seen:
                raise self._refuse(entry, "stands twice", "Take one out, or give each its own id.")
            seen.add(entry)
            self._sort_in(row, entry)
        self.samples = [self._sample(each) for each in self.images]

    def _refuse(self, entry: str, reason: str, remedy: str) -> InputError:
        return InputError(f"{SETTING}: {self.path}: {entry} {reason}. {remedy}")

    def _tables(self) -> dict[str, list[dict[str, Any]]]:
        existing_file(self.path, SETTING)
        try:
            content = parsed_json(self.path.read_bytes())
        except ValueError as error:
            raise InputError(
                f"{SETTING}: {self.path} is not JSON: {error}. Give a file such as instances_train2017.json."
            ) from error
        found = {}
        for name in ("images", "annotations", "categories"):
            rows = content.get(name) if isinstance(content, dict) else None
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise InputError(
                    f"{SETTING}: {self.path} holds no list of `{name}`. Give a file with COCO's objects, such as "
                    "instances_train2017.json."
                )
            found[name] = rows
        return found

    def _of(self, row: Mapping[str, Any], key: str, entry: str) -> Any:
        if key not in row:
            raise self._refuse(entry, f"has no {key!r}", f"It has {', '.join(row) or 'nothing'}.{nearest(key, row)}")
        return row[key]

    def _by_id(self, name: str, rows: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
        found: dict[Any, dict[str, Any]] = {}
        for place, row in enumerate(rows):
            number = self._of(row, "id", f"{name}: the entry at place {place}")
            if not isinstance(number, int):
                raise self._refuse(f"{name}: the entry at place {place}", f"has the id {number!r}", "Give a number.")
            if number in found:
                raise self._refuse(f"{name}:", f"the id {number} stands twice", "Give each entry its own.")
            found[number] = row
        return found

    def _check_names(self) -> None:
        first: dict[str, int] = {}
        for number, name in zip(self.numbers, self.names, strict=True):
            if first.setdefault(name, number) != number:
                raise self._refuse(
                    "categories:",
                    f"the ids {first[name]} and {number} are both called {name!r}",
                    "Rename one, or give the objects of both one id.",
                )

    def _sort_in(self, row: Mapping[str, Any], entry: str) -> None:
        image, category = self._of(row, "image_id", entry), self._of(row, "category_id", entry)
        if not isinstance(image, int) or image not in self.of_image:
            raise self._refuse(
                entry, f"is of the image {image!r}, which is not among `images`", "Correct it or take it out."
            )
        if not isinstance(category, int) or category not in self.numbers:
            known = ", ".join(map(str, self.numbers)) or "none"
            raise self._refuse(
                entry, f"has the category {category!r}, which is not among `categories` ({known})", "Correct either."
            )
        (self.crowds if row.get("iscrowd") else self.of_image)[image].append((row, entry))

    def _sample(self, number: int) -> Sample:
        row, entry = self.images[number], f"image {number}"
        path = self.folder / str(self._of(row, "file_name", entry))
        if not path.is_file():
            raise self._refuse(
                entry, f"is {str(path)!r}, and there is no such file", "Set `images` to the folder that holds it."
            )
        width, height = self._size(row, path, entry)
        objects = [(each, name, self._box(each, name, width, height)) for each, name in self.of_image[number]]
        kept = [(each, name, box) for each, name, box in objects if box is not None]
        boxes = BoxMarks(tuple(box for *_, box in kept), tuple(self.numbers[each["category_id"]] for each, *_ in kept))
        marks: BoxMarks | MaskMarks = boxes
        if self.masks:
            crowds = self.crowds[number] if self.label_map else []
            marks = MaskMarks(
                tuple(self._segmentation(each, name, width, height) for each, name, _ in kept),
                boxes.classes,
                (height, width),
                tuple(self._segmentation(*each, width, height) for each in crowds),
                self.label_map,
            )
        return Sample(
            id=str(number),
            image=SizedImage(ImageRef(str(path)), width, height),
            marks=marks,
            origin=f"{self.path}, {entry}",
        )

    def _size(self, row: Mapping[str, Any], path: Path, entry: str) -> tuple[int, int]:
        width, height = row.get("width"), row.get("height")
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            return width, height
        try:
            return ImageRef(str(path)).size()
        except InputError as error:
            raise self._refuse(entry, f"has no width and height, and {path}: {error}", "Mend either.") from error

    def _box(self, row: Mapping[str, Any], entry: str, width: int, height: int) -> Box | None:
        given = self._of(row, "bbox", entry)
        if not isinstance(given, list) or len(given) != 4:
            raise self._refuse(entry, f"has the bbox {given!r}", "Give [x, y, width, height] in pixels.")
        try:
            numbers = all(isinstance(x, int | float) for x in given)
            x, y, wide, high = given
            return checked_box((x, y, x + wide, y + high) if numbers else given, width, height)
        except InputError as error:
            if self.skip:
                self.skipped += 1
                return None
            raise self._refuse(
                entry, f"has the bbox {given}, which {error}", "Correct it, or set `bad_boxes: skip`."
            ) from error

    def _segmentation(self, row: Mapping[str, Any], entry: str, width: int, height: int) -> Any:
        try:
            return checked_segmentation(row.get("segmentation"), width, height)
        except InputError as error:
            raise self._refuse(entry, str(error), "Correct it, or set `masks: false`.") from error
