"""Making one sample ready: reading its media, augmenting, preprocessing for each model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from PIL import Image
from torch import Tensor

from kdmm.data.feed import EVAL_PASS
from kdmm.data.sample import BadSample, Sample
from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip
from kdmm.models.preprocess import Preprocess
from kdmm.outputs import MODALITIES
from kdmm.views import EVAL_VIEW, seed_view, stable_hash

__all__ = ["Recipe", "Row", "RowMaker"]

Transform = Callable[[Any], Any]
KINDS: dict[str, tuple[type, str]] = {
    "image": (Image.Image, "a PIL image"),
    "audio": (AudioClip, "an AudioClip"),
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
    """

    sample: Sample
    id: str
    view: int
    media: Mapping[str, Mapping[Transform, Tensor]]
    caption: str | None

    def has(self, modality: str) -> bool:
        """Return whether it has a modality."""
        return self.caption is not None if modality == "text" else self.sample.has(modality)

    def further(self) -> list[Row]:
        """Return a row of text alone for each caption but the one that was chosen."""
        alone = replace(self.sample.only("text"), labels={})
        others = [caption for caption in self.sample.captions if caption != self.caption]
        return [replace(self, sample=alone, media={}, caption=caption) for caption in others]


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
        self._made: dict[tuple[str, int], dict[str, Mapping[Transform, Tensor]]] = {}

    def __call__(self, sample: Sample, name: str, number: int) -> Row | BadSample:
        """Return a sample's row in a pass, or what is wrong with it.

        Args:
            sample: read or to be read.
            name: its id over all sources.
            number: of the pass.
        """
        view = self.recipe.view(number)
        media: dict[str, Mapping[Transform, Tensor]] | None = self._made.get((name, view))
        if media is None:
            media = {}
            for modality, ref in sample.media.items():
                if modality in self._wanted:
                    try:
                        medium = ref.open()
                    except InputError as error:
                        return BadSample(name, sample.origin, f"{ref.path}: {error}")
                    shared = self._augmented(modality, medium, name, view)
                    media[modality] = {transform: transform(shared) for transform in self._wanted[modality]}
            if self.recipe.remember:
                self._made[name, view] = media
        return Row(sample, name, view, media, self._caption(sample, name, view))

    def _augmented(self, modality: str, medium: Any, name: str, view: int) -> Any:
        transforms = self.recipe.augment.get(modality, ())
        if view == EVAL_VIEW or not transforms:
            return medium
        seed_view(name, view, "" if modality == "image" else modality)  # so a picture has the views it had alone
        kind, described = KINDS[modality]
        for transform in transforms:
            medium = transform(medium)
            if not isinstance(medium, kind):
                raise InputError(
                    f"augment: {type(transform).__name__} returns {type(medium).__name__}, and {described} is needed. "
                    "Leave out what makes tensors: each model's own preprocessing comes after the augmentation."
                )
        return medium

    def _caption(self, sample: Sample, name: str, view: int) -> str | None:
        if not sample.captions:
            return None
        first = view == EVAL_VIEW or self.recipe.caption == "first" or len(sample.captions) == 1
        return sample.captions[0 if first else stable_hash(name, view, "caption") % len(sample.captions)]
