"""Making batches in the workers: reading, augmenting, preprocessing for each model, putting together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from kdmm.data.feed import EVAL_PASS, Feed
from kdmm.data.sample import BadSample, Sample
from kdmm.errors import InputError
from kdmm.models.preprocess import ImagePreprocess, Preprocess
from kdmm.views import EVAL_VIEW, preserved_randomness, seed_view, stable_hash

__all__ = ["BatchMaker", "Failure", "Recipe", "caption_hash", "start_worker"]

ENTRIES = ("id", "view", "caption", "captions", "caption_id", "skipped")
"""What a batch holds besides models and labels."""


@dataclass(frozen=True)
class Failure:
    """An error for the user, on its way from a worker to the main process."""

    message: str


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
    """

    preprocess: Mapping[str, Preprocess]
    augment: tuple[Callable[[Any], Any], ...] = ()
    views: int | None = None
    caption: Literal["random", "first"] = "random"
    bad_samples: Literal["stop", "skip"] = "stop"
    rank: int = 0

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


class BatchMaker(Dataset[dict[str, Any] | Failure]):
    """Answers the requests for one batch, one from each feed, with the batch.

    A bad sample that is to stop the run is returned as a `Failure`: an exception from a worker would lose its class.

    Args:
        feeds: by the source's name. Where there are several, the name is put before the samples' ids.
        recipe: what is done to samples.
    """

    def __init__(self, feeds: Mapping[str, Feed], recipe: Recipe) -> None:
        self.feeds = dict(feeds)
        self.recipe = recipe

    def __getitem__(self, requests: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """Return the batch; for a Dataset, the requests stand in the place of an index."""
        try:
            return self._batch(requests)
        except InputError as error:
            return Failure(str(error))

    def _batch(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        rows: list[_Row] = []
        bad: list[BadSample] = []
        with preserved_randomness():
            for name, request in requests.items():
                prefix = f"{name}/" if len(self.feeds) > 1 else ""
                for sample, number in self.feeds[name].read(request):
                    made = self._row(sample, f"{prefix}{sample.id}", self.recipe.view(number))
                    if isinstance(made, BadSample):
                        bad.append(made)
                    else:
                        rows.append(made)
        if bad and self.recipe.bad_samples == "stop":
            raise InputError(f"{bad[0]}. Mend or remove it, or set `bad_samples: skip`.")
        if not rows:
            raise InputError(
                f"No sample of a batch can be read: {'; '.join(map(str, bad[:3]))}. Mend them, or set a larger batch size."
            )
        return self._put_together(rows, bad)

    def _row(self, sample: Sample | BadSample, name: str, view: int) -> _Row | BadSample:
        if isinstance(sample, BadSample):
            return BadSample(name, sample.origin, sample.reason)
        wanted = {each.image for each in self.recipe.preprocess.values()} - {None}
        images: dict[ImagePreprocess, Tensor] = {}
        if sample.image is not None and wanted:
            try:
                image = sample.image.open()
            except InputError as error:
                return BadSample(name, sample.origin, f"{sample.image.path}: {error}")
            shared = self._augmented(image, name, view)
            images = {preprocess: preprocess(shared) for preprocess in wanted if preprocess is not None}
        return _Row(sample, name, view, images, self._caption(sample, name, view))

    def _augmented(self, image: Image.Image, name: str, view: int) -> Image.Image:
        if view == EVAL_VIEW or not self.recipe.augment:
            return image
        seed_view(name, view)
        for transform in self.recipe.augment:
            image = transform(image)
            if not isinstance(image, Image.Image):
                raise InputError(
                    f"augment: {type(transform).__name__} returns {type(image).__name__}, and a PIL image is needed. Leave out "
                    "what makes tensors: each model's own preprocessing comes after the augmentation."
                )
        return image

    def _caption(self, sample: Sample, name: str, view: int) -> str | None:
        if not sample.captions:
            return None
        first = view == EVAL_VIEW or self.recipe.caption == "first"
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
            batch[label] = torch.tensor([row.sample.labels.get(label, -1) for row in rows])
        tensors: dict[Any, Tensor] = {}  # by preprocessing: models with equal ones share the tensor
        shared = {"id": ids, "view": views, "caption": captions, "present/image": has_image, "present/text": has_text}
        for model, preprocess in self.recipe.preprocess.items():
            batch[model] = dict(shared)
            if preprocess.image is not None and bool(has_image.any()):
                if preprocess.image not in tensors:
                    tensors[preprocess.image] = torch.stack([row.images[preprocess.image] for row in rows if row.images])
                batch[model]["image"] = tensors[preprocess.image]
            if preprocess.text is not None and bool(has_text.any()):
                if preprocess.text not in tensors:
                    tensors[preprocess.text] = preprocess.text([text for text in captions if text is not None])
                batch[model]["text"] = tensors[preprocess.text]
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


def start_worker(worker: int) -> None:
    """Set up a worker process: one thread, since there are several of them."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
