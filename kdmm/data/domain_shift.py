"""Training on one source, measuring on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.errors import InputError

__all__ = ["DomainShift"]


class DomainShift(Source):
    """Trains on one source and is measured on another: photographs and drawings, say, or two hospitals.

    Both must name the same things alike; the classes are those of the source that is measured.

    Args:
        train: whose training split is trained on.
        measured: whose validation and test splits are measured.
        whole: train on every split of ``train``: where what is held out is the style and not the things, such as
            drawings of the same things by two hands.

    Raises:
        InputError: the two number the classes of a label differently.
    """

    def __init__(self, train: Source, measured: Source, whole: bool = False) -> None:
        self.train = train
        self.measured = measured
        self.whole = whole
        for label in train.classes.keys() & measured.classes.keys():
            if train.classes[label] != measured.classes[label]:
                raise InputError(
                    f"DomainShift: {train} and {measured} number the classes of {label!r} differently: "
                    f"{', '.join(train.classes[label])} and {', '.join(measured.classes[label])}. Give sources with "
                    "the same classes in the same order."
                )

    def __str__(self) -> str:
        return f"DomainShift({self.train} to {self.measured})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """The training source's ``train``, and the others of what is measured."""
        held: tuple[Split, ...] = tuple(split for split in self.measured.splits if split != "train")
        trains = bool(self.train.splits) if self.whole else "train" in self.train.splits
        return ("train", *held) if trains else held

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Those of what is measured."""
        return self.measured.classes

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the description of the source that the split is of, under this name."""
        return {**(self.train if split == "train" else self.measured).describe(split), **super().describe(split)}

    def read(self, split: Split) -> Sequence[Sample]:
        """Take a split of one of the two."""
        if split != "train":
            return self.measured.samples(split)
        wanted = self.train.splits if self.whole else ("train",)
        return [sample for each in wanted for sample in self.train.samples(each)]
