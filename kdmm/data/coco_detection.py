"""Objects in COCO's JSON: boxes, classes, and masks where they are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from kdmm.data.coco_masks import BACKGROUND, require_pycocotools
from kdmm.data.coco_objects import SETTING, CocoObjects
from kdmm.data.marks import UNLABELLED
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.errors import InputError, nearest

__all__ = ["CocoDetection"]


class CocoDetection(Source):
    """Pictures with their objects, as in ``instances_train2017.json`` (COCO, Lin et al. 2014, arXiv:1405.0312).

    Class numbers are in the order of the categories' ids; their names are under ``box_classes``, and with
    masks under ``label_map`` (`kdmm.data.ClassNames`). Pictures without objects are kept; objects that are crowds
    (``iscrowd``) are left out. The file is checked whole before training; masks are drawn when a picture is read.

    The map of classes, which a segmenter learns, is made of the masks: where objects overlap, a pixel is the smallest
    one's, of two of one size the later one's in the file. Pixels of a crowd alone are unlabelled.

    Args:
        annotations: the JSON file, or one a split. A single file is the train split.
        images: the folder of the pictures, or one a split.
        masks: also reads ``segmentation``, polygons or run lengths, which needs ``pip install 'kdmm[detection]'``.
        bad_boxes: whether a box without an area or outside its picture stops the run or is left out, which
            ``describe`` counts. COCO itself has some without an area.
        label_map: what the pixels of no object are in the map: ``background``, class 0, and each class has one more
            than in ``box_classes``; ``unlabelled``, they do not count, and classes have the boxes' numbers; ``None``:
            there is no map. Without masks there is none.

    Raises:
        InputError: an unknown split, or masks without pycocotools. Reading: a file that is not as COCO's are; the
            message names the entry.
    """

    def __init__(
        self,
        annotations: str | Path | Mapping[str, str],
        images: str | Path | Mapping[str, str],
        masks: bool = False,
        bad_boxes: Literal["stop", "skip"] = "stop",
        label_map: Literal["background", "unlabelled"] | None = "background",
    ) -> None:
        self.annotations = annotations
        self.images = images
        self.masks = masks
        self.label_map = label_map if masks else None
        self.bad_boxes = bad_boxes
        for setting, value in (("annotations", annotations), ("images", images)):
            for split in value if isinstance(value, Mapping) else ():
                if split not in SPLITS:
                    raise InputError(
                        f"CocoDetection.{setting}: unknown split {split!r}. Accepted: {', '.join(SPLITS)}."
                        + nearest(split, SPLITS)
                    )
        if masks:
            require_pycocotools("CocoDetection.masks")

    def __str__(self) -> str:
        named = dict(self.annotations) if isinstance(self.annotations, Mapping) else str(self.annotations)
        return f"CocoDetection({named!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those that files are given for."""
        return tuple(split for split in SPLITS if split in self._files)

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of ``box_classes``, and of ``label_map`` where there is one."""
        names = next(iter(self._read.values())).names
        if self.label_map is None:
            return {"box_classes": names}
        return {"box_classes": names, "label_map": (BACKGROUND, *names) if self.label_map == BACKGROUND else names}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name, and how many boxes are left out, if there are."""
        skipped = self._read[split].skipped
        return {**super().describe(split), **({"bad_boxes_left_out": skipped} if skipped else {})}

    def read(self, split: Split) -> list[Sample]:
        """Return the pictures of a split."""
        return self._read[split].samples

    @property
    def _files(self) -> dict[Split, str]:
        given = self.annotations if isinstance(self.annotations, Mapping) else {"train": str(self.annotations)}
        return {split: given[split] for split in SPLITS if split in given}

    @cached_property
    def _read(self) -> dict[Split, CocoObjects]:
        read = {
            split: CocoObjects(Path(path), self._folder(split), self.masks, self.label_map, self.bad_boxes == "skip")
            for split, path in self._files.items()
        }
        first = next(iter(read.values()))
        for file in read.values():
            if file.names != first.names:
                raise InputError(
                    f"{SETTING}: {file.path} has the categories {', '.join(file.names)}, and {first.path} has "
                    f"{', '.join(first.names)}. Give all files the same ones, with the same ids."
                )
        self._check_map(first.names)
        return read

    def _check_map(self, names: tuple[str, ...]) -> None:
        first = 1 if self.label_map == BACKGROUND else 0
        if self.label_map is not None and len(names) + first > UNLABELLED:
            raise InputError(
                f"CocoDetection.label_map: a map has room for {UNLABELLED} classes, and there are {len(names)}. Set it "
                "to null: then there are masks alone."
            )
        if first and BACKGROUND in names:
            raise InputError(
                f"CocoDetection.label_map: a category is called {BACKGROUND!r} too. Rename it, or set `label_map: "
                "unlabelled`: then pixels of no object do not count."
            )

    def _folder(self, split: Split) -> Path:
        if not isinstance(self.images, Mapping):
            return Path(self.images)
        if split not in self.images:
            raise InputError(
                f"CocoDetection.images: no folder for the {split} split; it has {', '.join(self.images) or 'none'}. "
                "Give one for each split of `annotations`, or one for all."
            )
        return Path(self.images[split])
