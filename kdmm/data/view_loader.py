"""Chosen views of every image, once, in a fixed order: what a precomputed teacher looks at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdmm.data.batches import BatchMaker, Failure
from kdmm.data.loader import Loader
from kdmm.data.sample import Sample
from kdmm.errors import InputError

__all__ = ["MODEL", "ViewLoader"]

MODEL = "model"
"""The name that the maker's recipe gives to the model."""


class ViewLoader(Loader):
    """Source by source and view by view, the samples that have an image.

    Args:
        maker: answers the requests, with a recipe for one `MODEL`.
        workers: processes that do.
        samples: by source.
        views: their numbers.
        batch_size: of a batch.
    """

    def __init__(
        self,
        maker: BatchMaker,
        workers: int,
        samples: Mapping[str, Sequence[Sample]],
        views: Sequence[int],
        batch_size: int,
    ) -> None:
        super().__init__(maker, workers)
        self.rows = {
            name: [row for row, sample in enumerate(some) if sample.image is not None] for name, some in samples.items()
        }
        self.views = views
        self.batch_size = batch_size

    def __len__(self) -> int:
        return sum(len(self.views) * -(-len(rows) // self.batch_size) for rows in self.rows.values())

    def requests(self) -> Iterator[Mapping[str, Any]]:
        """Yield the requests of all batches."""
        for name, rows in self.rows.items():
            for view in self.views:
                for start in range(0, len(rows), self.batch_size):
                    yield {name: [(row, view) for row in rows[start : start + self.batch_size]]}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield batches with the model's image on top; one of skipped samples alone is passed over."""
        for batch in self.made():
            if isinstance(batch, Failure):
                if not batch.all_skipped:
                    raise InputError(batch.message)
                continue
            yield {**batch, **batch.pop(MODEL)}
