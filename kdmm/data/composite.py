"""Synthetic scenes with exact marks: cut-outs pasted on photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample
from kdmm.data.scenes import CutOut, SceneImage, SceneMarks, Scenery
from kdmm.data.source import SPLITS, Source, Split
from kdmm.errors import InputError, nearest
from kdmm.models.files import locate
from kdmm.views import stable_hash

__all__ = ["PHOTOGRAPHS", "Composite"]

PHOTOGRAPHS = (
    "package:sklearn/datasets/images/china.jpg",
    "package:sklearn/datasets/images/flower.jpg",
)
"""Two photographs of 640 x 427 pixels that scikit-learn carries (CC BY 2.0): a palace under trees, a dahlia."""

SCENES = {"train": 2000, "val": 200, "test": 400}
PARTS = {"train": (0.0, 0.6), "val": (0.6, 1.0), "test": (0.6, 1.0)}
"""Which part of a background's width a split's crops are taken from."""
BACKGROUND = "background"


class Composite(Source):
    """Scenes of stamps pasted on backgrounds by their alpha, with boxes, visible masks and a class for every pixel.

    The marks come from the alpha that pasted, so they are exact: an object's pixels are those where its alpha is half
    or more and no later object covers it. As in Cut, Paste and Learn (Dwibedi et al. 2017,
    https://arxiv.org/abs/1708.01642), but without blending, and with test objects that training never shows: a split's
    scenes hold that split's stamps alone, of concepts of their own, and crops of the left three fifths of each
    background in training, of the right two fifths otherwise.

    The backgrounds are two photographs that scikit-learn carries, or those named. Two photographs are few: what a model
    learns of the background here, it learns of these. A scene is a function of (seed, split, number) and is composed
    when it is read. Each object's class is drawn first, then a concept of it, then a stamp. Class numbers are in the
    order of ``classes``; in the ``label_map`` 0 is the background and each class one more. Their names are under the
    labels ``box_classes`` and ``label_map`` (`kdmm.data.ClassNames`). A split whose stamps lack a class shows none of
    it.

    Args:
        stamps: pictures with transparency, such as :class:`kdmm.data.TuxPaint`, with a label; its fold is the scenes'.
        backgrounds: files, or ``package:<module>/<path>``; an empty list: gradients between two colours.
        classes: by name, which of the label's classes belong to it; a list takes these under their own names; ``None``
            takes all.
        scenes: how many, by split.
        objects: how many a scene, from and to; one that finds no place is left out.
        size: (height, width) of a scene, pixels.
        scale: an object's longer side in parts of the scene's shorter one, from and to.
        hidden: the largest share of an object's pixels that others may hide, at least 0 and below 1.
        label: of the stamps that tells their class.
        seed: of the scenes.

    Raises:
        InputError: a setting is outside its range, or names a class or a file that is not there.
    """

    def __init__(
        self,
        stamps: Source,
        backgrounds: Sequence[str] = PHOTOGRAPHS,
        classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        scenes: Mapping[str, int] = SCENES,
        objects: Sequence[int] = (1, 4),
        size: Sequence[int] = (128, 128),
        scale: Sequence[float | int] = (0.25, 0.6),
        hidden: float | int = 0.5,
        label: str = "category",
        seed: int = 0,
    ) -> None:
        self.stamps = stamps
        self.backgrounds = tuple(backgrounds)
        self.groups = classes if classes is None or isinstance(classes, Mapping) else {name: [name] for name in classes}
        self.scenes = dict(scenes)
        self.objects = _range("objects", objects, 1)
        self.size = _pair("size", size, 8)
        self.scale = _range("scale", scale, 0.01)
        self.hidden = hidden
        self.label = label
        self.seed = seed
        if not 0 <= hidden < 1:
            raise InputError(f"Composite.hidden: {hidden} given; it is a share, at least 0 and below 1.")
        for split, count in self.scenes.items():
            if split not in SPLITS or count < 0:
                raise InputError(
                    f"Composite.scenes: {split}: {count} given; give numbers of scenes for {', '.join(SPLITS)}."
                    + nearest(split, SPLITS)
                )

    def __str__(self) -> str:
        return f"Composite({self.stamps})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those with scenes that the stamps have too."""
        return tuple(split for split in self.stamps.splits if self.scenes.get(split, 0) > 0)

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of ``box_classes``, and of ``label_map``, which begin with the background."""
        names = tuple(self._groups())
        return {"box_classes": names, "label_map": (BACKGROUND, *names)}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the stamps' description under this name, and what makes the scenes."""
        return {**self.stamps.describe(split), **super().describe(split), "classes": len(self._groups())}

    def read(self, split: Split) -> list[Sample]:
        """Name the scenes of a split."""
        scenery = Scenery(
            seed=stable_hash("composite", self.seed, split),
            stamps=self._stamps(split),
            backgrounds=tuple(ImageRef(str(locate(each))) for each in self.backgrounds),
            part=PARTS[split],
            objects=self.objects,
            size=self.size,
            scale=self.scale,
            hidden=self.hidden,
        )
        names = [f"{split} scene {number}" for number in range(self.scenes[split])]
        return [
            Sample(
                id=name.replace(" ", "-"),
                image=SceneImage(scenery, number, name),
                marks=SceneMarks(scenery, number, name),
                origin=f"{self}, {name}",
            )
            for number, name in enumerate(names)
        ]

    def _groups(self) -> dict[str, tuple[str, ...]]:
        """Return which of the stamps' classes make each class of the scenes."""
        known = self.stamps.class_names(self.label)
        if self.groups is None:
            return {name: (name,) for name in known}
        groups = {name: tuple(each) for name, each in self.groups.items()}
        every = [each for group in groups.values() for each in group]
        for each in every:
            if each not in known:
                raise InputError(
                    f"Composite.classes: the stamps have no {self.label} {each!r}; they have {', '.join(known)}."
                    + nearest(each, known)
                )
            if every.count(each) > 1:
                raise InputError(f"Composite.classes: {each!r} belongs to two classes; give it to one.")
        return groups

    def _stamps(self, split: Split) -> dict[int, tuple[tuple[CutOut, ...], ...]]:
        """Return the stamps of a split by class number and concept."""
        known = self.stamps.class_names(self.label)
        numbers = {each: number for number, group in enumerate(self._groups().values()) for each in group}
        found: dict[int, dict[str, list[CutOut]]] = {}
        for sample in self.stamps.samples(split):
            number = numbers.get(known[sample.labels[self.label]])
            if number is None or sample.image is None:
                continue
            if not isinstance(sample.image, CutOut):
                raise InputError(
                    f"Composite.stamps: {sample.origin} gives pictures without transparency; take a source whose "
                    "pictures are files, such as TuxPaint."
                )
            found.setdefault(number, {}).setdefault(sample.group or sample.id, []).append(sample.image)
        if not found:
            raise InputError(
                f"Composite.classes: {self.stamps} has no stamp of {', '.join(self._groups()) or 'no class'} in its "
                f"{split} split. Give other classes, or no scenes of this split."
            )
        return {number: tuple(tuple(each) for each in concepts.values()) for number, concepts in sorted(found.items())}


def _range(setting: str, given: Sequence[Any], least: float | int) -> tuple[Any, Any]:
    if len(given) != 2 or not least <= given[0] <= given[1]:
        raise InputError(f"Composite.{setting}: {list(given)} given; give [from, to], both at least {least}.")
    return given[0], given[1]


def _pair(setting: str, given: Sequence[int], least: int) -> tuple[int, int]:
    if len(given) != 2 or min(given) < least:
        raise InputError(f"Composite.{setting}: {list(given)} given; give [height, width], both at least {least}.")
    return given[0], given[1]
