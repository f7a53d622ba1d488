"""Making batches in the workers: reading, augmenting, preprocessing for each model, putting together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from kdmm.data.feed import EVAL_PASS, Feed
from kdmm.data.sample import BadSample, Sample
from kdmm.errors import InputError
from kdmm.models.preprocess import ImagePreprocess, Preprocess, TextPreprocess
from kdmm.views import EVAL_VIEW, preserved_randomness, seed_view, stable_hash

__all__ = ["BatchMaker", "Failure", "Recipe", "caption_hash", "map_tensors", "start_worker"]

ENTRIES = ("id", "view", "caption", "captions", "caption_id", "skipped")
"""What a batch holds besides models and labels."""


@dataclass(frozen=True)
class Failure:
    """An error for the user, on its way from a worker to the main process.

    Args:
        message: for the user.
        all_skipped: nothing else is wrong than that every sample of the batch was left out.
    """

    message: str
    all_skipped: bool = False


@dataclass(frozen=True)
class Recipe:
    """What is done to samples.

    Args:
        preprocess: each model's, by its name.
        augment: transforms of a PIL image, drawn for each view; the models share the result.
        views: K, the number of different views; ``None``: each pass draws a new one.
        caption: which of several captions a training batch takes.
        bad_samples: whether a sample that cannot be read stops the run or is left out.
        rank: of this process.
        remember: whether the images of a view, once made, are kept in memory.
        every_caption: whether a sample's further captions follow the batch's samples, each in a row of text alone with
            the sample's id and without its labels.
    """

    preprocess: Mapping[str, Preprocess]
    augment: tuple[Callable[[Any], Any], ...] = ()
    views: int | None = None
    caption: Literal["random", "first"] = "random"
    bad_samples: Literal["stop", "skip"] = "stop"
    rank: int = 0
    remember: bool = False
    every_caption: bool = False

    def view(self, number: int) -> int:
        """Return the view of a pass."""
        return EVAL_VIEW if number == EVAL_PASS else number if self.views is None else number % self.views


@dataclass(frozen=True)
class _Row:
    """A sample made ready: its image by preprocessing, and the caption that was chosen."""

    sample: Sample
    id: str
    view: int
    images: Mapping[ImagePreprocess, Tensor]
    caption: str | None

    def further(self) -> list[_Row]:
        """Return a row of text alone for each caption but the one that was chosen."""
        alone = replace(self.sample, image=None, labels={})
        others = [caption for caption in self.sample.captions if caption != self.caption]
        return [replace(self, sample=alone, images={}, caption=caption) for caption in others]


class BatchMaker(Dataset[dict[str, Any] | Failure]):
    """Answers the requests for one batch, one from each feed, with the batch.

    A bad sample that is to stop the run is returned as a `Failure`: an exception from a worker would lose its class.

    Args:
        feeds: by the source's name.
        recipe: what is done to samples.
        prefixed: whether the source's name is put before the samples' ids.
    """

    def __init__(self, feeds: Mapping[str, Feed], recipe: Recipe, prefixed: bool) -> None:
        self.feeds = dict(feeds)
        self.recipe = recipe
        self.prefixed = prefixed
        self._images = {each.image for each in recipe.preprocess.values() if each.image is not None}
        self._made: dict[tuple[str, int], Mapping[ImagePreprocess, Tensor]] = {}

    def __getitem__(self, requests: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """Return the batch; for a Dataset, the requests stand in the place of an index."""
        try:
            return self._batch(requests)
        except InputError as error:
            return Failure(str(error))

    def _batch(self, requests: Mapping[str, Any]) -> dict[str, Any] | Failure:
        rows: list[_Row] = []
        bad: list[BadSample] = []
        with preserved_randomness():
            for name, request in requests.items():
                prefix = f"{name}/" if self.prefixed else ""
                for sample, number in self.feeds[name].read(request):
                    made = self._row(sample, f"{prefix}{sample.id}", self.recipe.view(number))
                    if isinstance(made, BadSample):
                        bad.append(made)
                    else:
                        rows.append(made)
        if bad and self.recipe.bad_samples == "stop":
            raise InputError(f"{bad[0]}. Mend or remove it, or set `bad_samples: skip`.")
        if not rows:
            return Failure(
                f"No sample of a batch can be read: {'; '.join(map(str, bad[:3]))}. Mend them, or set a larger batch.",
                all_skipped=True,
            )
        if self.recipe.every_caption:
            rows += [further for row in rows for further in row.further()]
        return self._put_together(rows, bad)

    def _row(self, sample: Sample | BadSample, name: str, view: int) -> _Row | BadSample:
        if isinstance(sample, BadSample):
            return BadSample(name, sample.origin, sample.reason)
        images: Mapping[ImagePreprocess, Tensor] = self._made.get((name, view), {})
        if sample.image is not None and self._images and not images:
            try:
                image = sample.image.open()
            except InputError as error:
                return BadSample(name, sample.origin, f"{sample.image.path}: {error}")
            shared = self._augmented(image, name, view)
            images = {preprocess: preprocess(shared) for preprocess in self._images}
            if self.recipe.remember:
                self._made[name, view] = images
        return _Row(sample, name, view, images, self._caption(sample, name, view))

    def _augmented(self, image: Image.Image, name: str, view: int) -> Image.Image:
        if view == EVAL_VIEW or not self.recipe.augment:
            return image
        seed_view(name, view)
        for transform in self.recipe.augment:
            image = transform(image)
            if not isinstance(image, Image.Image):
                raise InputError(
                    f"augment: {type(transform).__name__} returns {type(image).__name__}, and a PIL image is needed. "
                    "Leave out what makes tensors: each model's own preprocessing comes after the augmentation."
                )
        return image

    def _caption(self, sample: Sample, name: str, view: int) -> str | None:
        if not sample.captions:
            return None
        first = view == EVAL_VIEW or self.recipe.caption == "first" or len(sample.captions) == 1
        return sample.captions[0 if first else stable_hash(name, view, "caption") % len(sample.captions)]

    def _put_together(self, rows: Sequence[_Row], bad: Sequence[BadSample]) -> dict[str, Any]:
        ids, views, captions = [row.id for row in rows], [row.view for row in rows], [row.caption for row in rows]
        has_image = torch.tensor([row.sample.image is not None for row in rows])
        has_text = torch.tensor([caption is not None for caption in captions])
        batch: dict[str, Any] = {"id": ids, "view": views, "caption": captions, "caption_id": self._caption_ids(rows)}
        if all(view == EVAL_VIEW for view in views):
            batch["captions"] = [row.sample.captions for row in rows]
        if self.recipe.bad_samples == "skip":
            batch["skipped"] = [{"id": each.id, "origin": each.origin, "reason": each.reason} for each in bad]
        for label in dict.fromkeys(label for row in rows for label in row.sample.labels):
            if label in ENTRIES or label in self.recipe.preprocess:
                raise InputError(f"A label cannot be called {label!r}: a batch has an entry of that name.")
            batch[label] = torch.tensor([row.sample.labels.get(label, -1) for row in rows])
        images: dict[ImagePreprocess, Tensor] = {}  # models with equal preprocessing share the tensor
        texts: dict[TextPreprocess, Tensor] = {}
        shared = {"id": ids, "view": views, "caption": captions, "present/image": has_image, "present/text": has_text}
        for model, preprocess in self.recipe.preprocess.items():
            batch[model] = dict(shared)
            if preprocess.image is not None and bool(has_image.any()):
                if preprocess.image not in images:
                    images[preprocess.image] = torch.stack([row.images[preprocess.image] for row in rows if row.images])
                batch[model]["image"] = images[preprocess.image]
            if preprocess.text is not None and bool(has_text.any()):
                if preprocess.text not in texts:
                    texts[preprocess.text] = preprocess.text([text for text in captions if text is not None])
                batch[model]["text"] = texts[preprocess.text]
        return batch

    def _caption_ids(self, rows: Sequence[_Row]) -> Tensor:
        """Return equal numbers for equal captions; for each missing one a negative number of its own."""
        return torch.tensor(
            [
                -1 - stable_hash(row.id, row.view, place, self.recipe.rank)
                if row.caption is None
                else caption_hash(row.caption)
                for place, row in enumerate(rows)
            ]
        )


def caption_hash(caption: str) -> int:
    """Return a number in [0, 2**63) that is the same for captions that differ in case or white space alone."""
    return stable_hash(" ".join(caption.casefold().split()))


def map_tensors(value: Any, change: Callable[[Tensor], Tensor], seen: dict[int, Tensor] | None = None) -> Any:
    """Change every tensor of a batch; one that stands in several places is changed once and stays shared."""
    seen = {} if seen is None else seen
    if isinstance(value, dict):
        return {name: map_tensors(item, change, seen) for name, item in value.items()}
    if isinstance(value, Tensor):
        if id(value) not in seen:
            seen[id(value)] = change(value)
        return seen[id(value)]
    return value


def start_worker(worker: int) -> None:
    """Set up a worker process: one thread, since there are several of them."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
