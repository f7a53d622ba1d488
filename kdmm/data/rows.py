"""Making one sample ready: reading its media, augmenting, preprocessing for each model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from PIL import Image
from torch import Tensor

from kdmm.data.feed import EVAL_PASS
from kdmm.data.marks import Marks, joint, on_canvas
from kdmm.data.sample import BadSample, Sample
from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip
from kdmm.models.preprocess import Preprocess
from kdmm.models.video import VideoClip
from kdmm.outputs import MODALITIES
from kdmm.views import EVAL_VIEW, seed_view, stable_hash

__all__ = ["Recipe", "Row", "RowMaker"]

Transform = Callable[[Any], Any]
KINDS: dict[str, tuple[type, str]] = {
    "image": (Image.Image, "a PIL image"),
    "audio": (AudioClip, "an AudioClip"),
    "video": (VideoClip, "a VideoClip"),
}
"""What an augmentation takes and returns, by modality."""


@dataclass(frozen=True)
class Recipe:
    """What is done to samples.

    Args:
        preprocess: each model's, by its name.
        augment: transforms of what a medium is read as, by modality, drawn for each view; the models share the result.
        views: K, the number of different views; ``None``: each pass draws a new one.
        caption: which of several captions a training batch takes.
        bad_samples: whether a sample that cannot be read stops the run or is left out.
        rank: of this process.
        remember: whether the media of a view, once made, are kept in memory.
        every_caption: whether a sample's further captions follow the batch's samples, each in a row of text alone with
            the sample's id and without its labels.
        modalities: that a batch speaks of; a sample's others are not read.
        canvas: (height, width) that every picture and what is marked in it is resized to after the augmentation;
            ``None``: pictures keep their size, and none is marked.
        maps: whether batches hold maps of classes, of which there are some.
    """

    preprocess: Mapping[str, Preprocess]
    augment: Mapping[str, tuple[Transform, ...]] = field(default_factory=dict)
    views: int | None = None
    caption: Literal["random", "first"] = "random"
    bad_samples: Literal["stop", "skip"] = "stop"
    rank: int = 0
    remember: bool = False
    every_caption: bool = False
    modalities: tuple[str, ...] = MODALITIES
    canvas: tuple[int, int] | None = None
    maps: bool = False

    def view(self, number: int) -> int:
        """Return the view of a pass."""
        return EVAL_VIEW if number == EVAL_PASS else number if self.views is None else number % self.views


@dataclass(frozen=True)
class Row:
    """A sample made ready.

    Args:
        sample: whose row it is.
        id: unique over all sources.
        view: its number.
        media: what its media became, by modality and preprocessing.
        caption: that was chosen.
        marks: on its picture, as it was augmented.
    """

    sample: Sample
    id: str
    view: int
    media: Mapping[str, Mapping[Transform, Tensor]]
    caption: str | None
    marks: Marks | None = None

    def has(self, modality: str) -> bool:
        """Return whether it has a modality."""
        return self.caption is not None if modality == "text" else self.sample.has(modality)

    def further(self) -> list[Row]:
        """Return a row of text alone for each caption but the one that was chosen."""
        alone = replace(self.sample.only("text"), labels={})
        others = [caption for caption in self.sample.captions if caption != self.caption]
        return [replace(self, sample=alone, media={}, caption=caption, marks=None) for caption in others]


class _Unreadable(Exception):  # noqa: N818  never leaves this file
    """A sample that cannot be read, on its way to a `BadSample`."""


class RowMaker:
    """Makes rows of samples.

    Args:
        recipe: what is done to them.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._wanted: dict[str, set[Transform]] = {}
        for preprocess in recipe.preprocess.values():
            for modality, transform in preprocess.media.items():
                self._wanted.setdefault(modality, set()).add(transform)
        self._made: dict[tuple[str, int], tuple[dict[str, Mapping[Transform, Tensor]], Marks | None]] = {}

    def __call__(self, sample: Sample, name: str, number: int) -> Row | BadSample:
        """Return a sample's row in a pass, or what is wrong with it.

        Args:
            sample: read or to be read.
            name: its id over all sources.
            number: of the pass.
        """
        view = self.recipe.view(number)
        made = self._made.get((name, view))
        if made is None:
            try:
                made = self._read(sample, name, view)
            except _Unreadable as error:
                return BadSample(name, sample.origin, str(error))
            if self.recipe.remember:
                self._made[name, view] = made
        media, marks = made
        return Row(sample, name, view, media, self._caption(sample, name, view), marks)

    def _read(self, sample: Sample, name: str, view: int) -> tuple[dict[str, Mapping[Transform, Tensor]], Marks | None]:
        media: dict[str, Mapping[Transform, Tensor]] = {}
        marks: Marks | None = None
        for modality, ref in sample.media.items():
            if modality in self._wanted:
                try:
                    medium = ref.open()
                    marked = self._marks(sample) if modality == "image" else None
                except InputError as error:
                    raise _Unreadable(f"{ref.path}: {error}") from error
                medium, marked = self._augmented(modality, medium, marked, name, view)
                if modality == "image" and self.recipe.canvas is not None:
                    medium, marks = on_canvas(medium, marked, self.recipe.canvas)
                media[modality] = {transform: transform(medium) for transform in self._wanted[modality]}
        return media, marks

    def _marks(self, sample: Sample) -> Marks | None:
        return None if sample.marks is None or self.recipe.canvas is None else sample.marks.open()

    def _augmented(
        self, modality: str, medium: Any, marks: Marks | None, name: str, view: int
    ) -> tuple[Any, Marks | None]:
        transforms = self.recipe.augment.get(modality, ())
        if view == EVAL_VIEW or not transforms:
            return medium, marks
        seed_view(name, view, "" if modality == "image" else modality)  # so a picture has the views it had alone
        kind, described = KINDS[modality]
        for transform in transforms:
            if marks is not None:
                medium, marks = joint(transform, medium, marks)
            elif isinstance(medium, VideoClip):  # all frames alike
                medium = replace(medium, frames=tuple(transform(list(medium.frames))))
            else:
                medium = transform(medium)
            if not isinstance(medium, kind):
                raise InputError(
                    f"augment: {type(transform).__name__} returns {type(medium).__name__}, and {described} is needed. "
                    "Leave out what makes tensors: each model's own preprocessing comes after the augmentation."
                )
        return medium, marks

    def _caption(self, sample: Sample, name: str, view: int) -> str | None:
        if not sample.captions:
            return None
        first = view == EVAL_VIEW or self.recipe.caption == "first" or len(sample.captions) == 1
        return sample.captions[0 if first else stable_hash(name, view, "caption") % len(sample.captions)]
