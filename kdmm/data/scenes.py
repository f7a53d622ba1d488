"""Composing a picture of objects on a background, with exact marks, as a pure function of its number."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kdmm.data.image_ref import ImageRef
from kdmm.data.marks import Marks
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["CutOut", "Scene", "SceneImage", "SceneMarks", "Scenery"]

REMEMBERED_SCENES = 4  # a row asks for a scene's picture, then for its marks
TRIES = 20  # to find a place for an object before it is left out
SMALLEST_CROP = 0.5  # of the largest crop of a background
OPAQUE = 128  # an alpha from here on belongs to the object

Mask: TypeAlias = NDArray[np.bool_]
Range: TypeAlias = tuple[float | int, float | int]


@runtime_checkable
class CutOut(Protocol):
    """A picture with transparency around what it shows."""

    @property
    def path(self) -> str:
        """Names it in messages."""

    def open_rgba(self) -> Image.Image:
        """Read it as RGBA."""

    def identity(self) -> str:
        """Return what changes when its content does."""


@dataclass(frozen=True)
class Scenery:
    """What the scenes of one split are made of.

    Args:
        seed: of the scenes; with the number it decides everything.
        stamps: by class number, the cut-outs of each concept.
        backgrounds: photographs; none: gradients between two colours.
        part: of the backgrounds' width that crops are taken from, as fractions (from, to).
        objects: how many are pasted, from and to.
        size: (height, width), pixels.
        scale: an object's longer side in parts of the scene's shorter one, from and to.
        hidden: no object has a larger share of its pixels hidden by others.
    """

    seed: int
    stamps: Mapping[int, tuple[tuple[CutOut, ...], ...]]
    backgrounds: tuple[ImageRef, ...]
    part: Range
    objects: tuple[int, int]
    size: tuple[int, int]
    scale: Range
    hidden: float | int
    _scenes: dict[int, tuple[Image.Image, Marks]] = field(default_factory=dict, repr=False, compare=False)
    _pictures: dict[CutOut, Image.Image] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name != "fingerprint"}
        return {**kept, "_scenes": {}, "_pictures": {}}

    @cached_property
    def fingerprint(self) -> str:
        """Names everything that decides a scene but its number."""
        refs = [*self.backgrounds, *(ref for concepts in self.stamps.values() for each in concepts for ref in each)]
        lengths = {number: [len(each) for each in concepts] for number, concepts in self.stamps.items()}
        facts = [self.seed, lengths, self.part, self.objects, self.size, self.scale, self.hidden]
        facts += [ref.identity() for ref in refs]
        return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()

    def compose(self, number: int) -> tuple[Image.Image, Marks]:
        """Return a scene and what is marked in it; the last few are remembered.

        Raises:
            InputError: a stamp or a background cannot be read; the message names it.
        """
        if number not in self._scenes:
            while len(self._scenes) >= REMEMBERED_SCENES:
                del self._scenes[next(iter(self._scenes))]
            draw = np.random.Generator(np.random.PCG64(stable_hash("scene", self.seed, number)))
            self._scenes[number] = self._composed(draw)
        image, marks = self._scenes[number]
        return image.copy(), marks

    def _composed(self, draw: np.random.Generator) -> tuple[Image.Image, Marks]:
        image = self._background(draw)
        masks: list[Mask] = []  # the visible pixels of each object
        whole: list[int] = []  # how many pixels each has inside the scene
        classes: list[int] = []
        for _ in range(draw.integers(self.objects[0], self.objects[1], endpoint=True)):
            number = list(self.stamps)[draw.integers(len(self.stamps))]
            concept = self.stamps[number][draw.integers(len(self.stamps[number]))]
            stamp = self._resized(concept[draw.integers(len(concept))], draw.uniform(*self.scale))
            for _ in range(TRIES):
                corner = self._corner(draw, stamp)
                covered = _opaque(stamp, corner, self.size)
                visible = [mask & ~covered for mask in masks]
                enough = all(
                    np.count_nonzero(mask) >= (1 - self.hidden) * pixels
                    for mask, pixels in zip(visible, whole, strict=True)
                )
                if covered.any() and enough:
                    masks = [*visible, covered]
                    whole.append(int(np.count_nonzero(covered)))
                    classes.append(number)
                    image.paste(stamp, corner, stamp)
                    break
        return image, _marks(masks, classes, self.size)

    def _corner(self, draw: np.random.Generator, stamp: Image.Image) -> tuple[int, int]:
        """Return (x, y) of a stamp's upper left pixel; its centre is inside, so an edge cuts half of it off at most."""
        height, width = self.size
        return int(draw.integers(width)) - stamp.width // 2, int(draw.integers(height)) - stamp.height // 2

    def _background(self, draw: np.random.Generator) -> Image.Image:
        height, width = self.size
        if not self.backgrounds:
            return _gradient(draw, height, width)
        photograph = self._photograph(self.backgrounds[draw.integers(len(self.backgrounds))])
        share = draw.uniform(SMALLEST_CROP, 1) * min(photograph.width / width, photograph.height / height)
        wide, high = share * width, share * height
        left, top = draw.uniform(0, photograph.width - wide), draw.uniform(0, photograph.height - high)
        crop = photograph.resize((width, height), Image.Resampling.BICUBIC, (left, top, left + wide, top + high))
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.integers(2) else crop

    def _photograph(self, ref: ImageRef) -> Image.Image:
        """Return the part of a background that crops are taken from, read once."""
        if ref not in self._pictures:
            image = _opened(ref, "background").convert("RGB")
            start, stop = (round(image.width * share) for share in self.part)
            self._pictures[ref] = image.crop((start, 0, max(stop, start + 1), image.height))
        return self._pictures[ref]

    def _resized(self, ref: CutOut, scale: float) -> Image.Image:
        """Return a stamp without its empty edges, at its size in the scene."""
        shorter = min(self.size)
        if ref not in self._pictures:  # no larger than it will ever be seen
            cut = _opened(ref, "stamp")
            cut = cut.crop(cut.getchannel("A").getbbox() or (0, 0, 1, 1))
            largest = math.ceil(self.scale[1] * shorter)
            self._pictures[ref] = _to_longest(cut, largest) if max(cut.size) > largest else cut
        return _to_longest(self._pictures[ref], max(1, round(scale * shorter)))


@dataclass(frozen=True)
class Scene:
    """One scene.

    Args:
        scenery: what it is made of.
        number: of the scene.
        name: for messages.
    """

    scenery: Scenery
    number: int
    name: str

    def identity(self) -> str:
        """Return what changes when the scene does."""
        return f"{self.scenery.fingerprint} {self.number}"


@dataclass(frozen=True)
class SceneImage(Scene):
    """The picture of a scene, composed when it is needed."""

    @property
    def path(self) -> str:
        """Names it in messages."""
        return self.name

    def open(self) -> Image.Image:
        """Compose it."""
        return self.scenery.compose(self.number)[0]


@dataclass(frozen=True)
class SceneMarks(Scene):
    """The marks of a scene, as it was composed."""

    def open(self) -> Marks:
        """Return them."""
        return self.scenery.compose(self.number)[1]


def _opened(ref: CutOut, what: str) -> Image.Image:
    try:
        return ref.open_rgba()
    except InputError as error:
        raise InputError(f"the {what} {Path(ref.path)}: {error}") from error


def _to_longest(image: Image.Image, longest: int) -> Image.Image:
    share = longest / max(image.size)
    return image.resize(
        (max(1, round(image.width * share)), max(1, round(image.height * share))), Image.Resampling.BICUBIC
    )


def _opaque(stamp: Image.Image, corner: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Return which pixels (H, W) of a scene a stamp covers whose upper left corner is at (x, y)."""
    alpha = Image.new("L", (size[1], size[0]))
    alpha.paste(stamp.getchannel("A"), corner)
    return np.asarray(alpha) >= OPAQUE


def _marks(masks: Sequence[Mask], classes: Sequence[int], size: tuple[int, int]) -> Marks:
    """Return masks that do not overlap with the map that follows from them, in which 0 is the background."""
    label_map = torch.zeros(size, dtype=torch.long)
    every = torch.zeros(len(masks), *size, dtype=torch.bool)
    for place, (mask, number) in enumerate(zip(masks, classes, strict=True)):
        every[place] = torch.from_numpy(mask)
        label_map[every[place]] = number + 1
    return replace(Marks.of_masks(every, torch.tensor(classes, dtype=torch.long)), label_map=label_map)


def _gradient(draw: np.random.Generator, height: int, width: int) -> Image.Image:
    angle = draw.uniform(0, 2 * math.pi)
    first, second = draw.uniform(0, 255, (2, 3))
    down, right = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    share = (right * math.cos(angle) + down * math.sin(angle)) / (2 * math.sqrt(2)) + 0.5
    return Image.fromarray((first + (second - first) * share[..., None]).astype(np.uint8))
