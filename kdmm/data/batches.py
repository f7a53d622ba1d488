"""Making batches in the workers: rows of samples, put together for each model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from kdmm.data.feed import Feed
from kdmm.data.marks import UNLABELLED, Marks
from kdmm.data.rows import Recipe, Row, RowMaker
from kdmm.data.sample import BadSample
from kdmm.errors import InputError
from kdmm.models.preprocess import TextPreprocess
from kdmm.views import EVAL_VIEW, preserved_randomness, stable_hash

__all__ = ["BatchMaker", "Failure", "caption_hash", "map_tensors", "start_worker"]

MARKED = ("boxes", "box_classes", "masks", "label_map", "marked", "image_size")
"""What a batch holds of marked pictures."""
ENTRIES = ("id", "view", "caption", "captions", "caption_id", "source", "skipped", *MARKED)
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
        self._row = RowMaker(recipe)

    def __getitem__(self, requests: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """Return the batch; for a Dataset, the requests stand in the place of an index."""
        try:
            return self._batch(requests)
        except InputError as error:
            return Failure(str(error))

    def _batch(self, requests: Mapping[str, Any]) -> dict[str, Any] | Failure:
        rows: list[Row] = []
        bad: list[BadSample] = []
        with preserved_randomness():
            for name, request in requests.items():
                prefix = f"{name}/" if self.prefixed else ""
                for sample, number in self.feeds[name].read(request):
                    full_name = f"{prefix}{sample.id}"
                    if isinstance(sample, BadSample):
                        bad.append(BadSample(full_name, sample.origin, sample.reason))
                        continue
                    made = self._row(sample, full_name, number)
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

    def _put_together(self, rows: Sequence[Row], bad: Sequence[BadSample]) -> dict[str, Any]:
        ids, views, captions = [row.id for row in rows], [row.view for row in rows], [row.caption for row in rows]
        sources = [row.sample.source for row in rows]
        batch: dict[str, Any] = {"id": ids, "view": views, "caption": captions, "caption_id": self._caption_ids(rows)}
        read = {"id": ids, "view": views, "caption": captions}
        if "source" in self.recipe.modalities:
            batch["source"] = read["source_text"] = sources
        if self.recipe.canvas is not None:
            batch |= _marked([row.marks for row in rows], self.recipe.canvas, self.recipe.maps)
        if all(view == EVAL_VIEW for view in views):
            batch["captions"] = [row.sample.captions for row in rows]
        if self.recipe.bad_samples == "skip":
            batch["skipped"] = [{"id": each.id, "origin": each.origin, "reason": each.reason} for each in bad]
        for label in dict.fromkeys(label for row in rows for label in row.sample.labels):
            if label in ENTRIES or label in self.recipe.preprocess:
                raise InputError(f"A label cannot be called {label!r}: a batch has an entry of that name.")
            batch[label] = torch.tensor([row.sample.labels.get(label, -1) for row in rows])
        has = {modality: torch.tensor([row.has(modality) for row in rows]) for modality in self.recipe.modalities}
        flags = {f"present/{modality}": flag for modality, flag in has.items()}
        media: dict[tuple[str, Any], Tensor] = {}  # models with equal preprocessing share the tensor
        texts: dict[tuple[str, TextPreprocess], Tensor] = {}
        for model, preprocess in self.recipe.preprocess.items():
            batch[model] = {**read, **flags}
            for key in preprocess.media.items():
                modality, transform = key
                if bool(has[modality].any()):
                    if key not in media:
                        media[key] = torch.stack([row.media[modality][transform] for row in rows if row.has(modality)])
                    batch[model][modality] = media[key]
            for modality, written in (("text", captions), ("source", sources)):
                tokenize = preprocess.written.get(modality)
                if tokenize is not None and bool(has[modality].any()):
                    if (modality, tokenize) not in texts:
                        texts[modality, tokenize] = tokenize([text for text in written if text is not None])
                    batch[model][modality] = texts[modality, tokenize]
            if preprocess.marks:
                batch[model] |= {name: batch[name] for name in MARKED if name in batch}
        return batch

    def _caption_ids(self, rows: Sequence[Row]) -> Tensor:
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
    if isinstance(value, list) and value and isinstance(value[0], Tensor):
        return [map_tensors(item, change, seen) for item in value]
    if isinstance(value, Tensor):
        if id(value) not in seen:
            seen[id(value)] = change(value)
        return seen[id(value)]
    return value


def _marked(marks: Sequence[Marks | None], canvas: tuple[int, int], maps: bool) -> dict[str, Any]:
    """Return the marks of a batch's pictures, with or without maps, and which pictures anybody has marked."""
    nothing = Marks.of_map(torch.full(canvas, UNLABELLED))
    each = [nothing if one is None else one for one in marks]
    found: dict[str, Any] = {
        "boxes": [one.boxes for one in each],
        "box_classes": [one.box_classes for one in each],
        "marked": torch.tensor([one is not None for one in marks]),
        "image_size": canvas,
    }
    if maps:
        found["label_map"] = torch.stack([_or(one.label_map, nothing.label_map) for one in each])
    if any(one.masks is not None for one in each):
        found["masks"] = [_or(one.masks, torch.zeros(len(one.boxes), *canvas, dtype=torch.bool)) for one in each]
    return found


def _or(given: Tensor | None, default: Tensor | None) -> Tensor:
    chosen = default if given is None else given
    assert chosen is not None
    return chosen


def start_worker(worker: int) -> None:
    """Set up a worker process: one thread, since there are several of them."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
