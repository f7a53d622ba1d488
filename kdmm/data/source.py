"""Where samples come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias

from kdmm.data.feed import Feed, Indexed
from kdmm.data.sample import Sample
from kdmm.errors import InputError, nearest

__all__ = ["SPLITS", "ClassNames", "Source", "Split", "check_ids"]

Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Source(ABC):
    """Gives samples by split.

    A source is its settings. What it reads may be kept in a ``cached_property``, which is left out when it is pickled.
    """

    @property
    @abstractmethod
    def splits(self) -> tuple[Split, ...]:
        """The splits that this source has."""

    @abstractmethod
    def read(self, split: Split) -> Sequence[Sample]:
        """Read one split, one of ``splits``."""

    def samples(self, split: Split) -> Sequence[Sample]:
        """Return the samples of a split.

        Raises:
            InputError: the source has no such split, the split has no sample, or two samples have one id.
        """
        self.check_split(split)
        samples = self.read(split)
        if not samples:
            raise InputError(f"{self}: its {split} split has no samples.")
        check_ids(samples, str(self))
        return samples

    def feed(self, split: Split, name: str, seed: int) -> Feed:
        """Return what gives the samples of a split batch by batch.

        Args:
            split: one of ``splits``.
            name: the source's name in its DataModule.
            seed: of the run's data order.
        """
        return Indexed(self.samples(split), name, seed)

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the source's name, and which rotation of the split it is where there are several, for reports.

        A source that changes the training samples of another alone is called by the other's name in evaluation, so that
        runs on both can be compared.
        """
        return {"source": str(self)}

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the classes by label, in the order of their numbers; of a label that is not in it, none.

        Batches hold a ``label_map`` if a source names the classes of one.
        """
        return {}

    def class_names(self, label: str) -> tuple[str, ...]:
        """Return the names of a label's classes, in the order of their numbers.

        Raises:
            InputError: the source has no names for such a label.
        """
        classes = self.classes
        if label not in classes:
            raise InputError(
                f"{self} names no classes of a label {label!r}; it does of {', '.join(classes) or 'none'}."
                + nearest(label, classes)
            )
        return classes[label]

    def check_split(self, split: Split) -> None:
        """Refuse a split that the source lacks."""
        if split not in self.splits:
            raise InputError(f"{self} has no {split} split; it has {', '.join(self.splits) or 'none'}.")

    def __getstate__(self) -> dict[str, Any]:
        kind = type(self)
        return {n: value for n, value in vars(self).items() if not isinstance(getattr(kind, n, None), cached_property)}

    def __str__(self) -> str:
        return type(self).__name__


def check_ids(samples: Sequence[Sample], source: str) -> None:
    """Refuse two samples with one id."""
    seen: dict[str, Sample] = {}
    for sample in samples:
        other = seen.setdefault(sample.id, sample)
        if other is not sample:
            raise InputError(
                f"{source}: the id {sample.id!r} stands at {other.origin} and at {sample.origin}. Give every sample "
                "its own id, or no id column to number the rows."
            )


def ClassNames(source: Source, label: str) -> tuple[str, ...]:  # noqa: N802  named in YAML like a class
    """Return the names of a label's classes, for a YAML to name where a metric asks for them.

    Args:
        source: that has the label.
        label: such as ``category``.
    """
    return source.class_names(label)
