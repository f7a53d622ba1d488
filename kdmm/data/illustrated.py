"""The pictures of one source for the samples of another, joined by what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.data.wrapped import Wrapped
from kdmm.errors import InputError, nearest

__all__ = ["Illustrated"]

PICTURE = "picture"


class Illustrated(Wrapped):
    """The samples of some classes, each with the picture that another source has under a name.

    So a note of any guitar comes with the emoji of a guitar. Samples of other classes are left out; captions, sounds,
    groups and splits remain the source's own. A label ``picture`` says which picture it is, by its name.

    Args:
        source: whose samples are taken.
        pictures: where the pictures are; all its splits are searched, since a picture is no sample here.
        names: by class, the picture's caption, such as ``{jazz guitar: guitar}``.
        label: whose classes these are, such as ``instrument``.

    Raises:
        InputError: a class that the source lacks, or a caption that no picture has.
    """

    def __init__(self, source: Source, pictures: Source, names: Mapping[str, str], label: str) -> None:
        super().__init__(source)
        self.pictures = pictures
        self.names = dict(names)
        self.label = label

    def __str__(self) -> str:
        return f"Illustrated({self.source}, {self.pictures})"

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Those of the source, and ``picture``: the captions of the pictures that were asked for, sorted."""
        return {**self.source.classes, PICTURE: tuple(sorted(set(self.names.values())))}

    def read(self, split: Split) -> Sequence[Sample]:
        """Give the samples of a split their pictures."""
        known = self.source.class_names(self.label)
        for name in self.names:
            if name not in known:
                raise InputError(
                    f"Illustrated.names: {self.source} has no {self.label} {name!r}.{nearest(name, known)}"
                )
        numbers = {caption: number for number, caption in enumerate(self.classes[PICTURE])}
        found = []
        for sample in self.source.samples(split):
            caption = self.names.get(known[sample.labels[self.label]])
            if caption is not None:
                labels = {**sample.labels, PICTURE: numbers[caption]}
                found.append(replace(sample, image=self._found[caption].image, labels=labels))
        return found

    @cached_property
    def _found(self) -> dict[str, Sample]:
        """The samples whose pictures are taken, by caption."""
        captioned: dict[str, Sample] = {}
        for split in self.pictures.splits:
            for sample in self.pictures.samples(split):
                if sample.image is not None:
                    for caption in sample.captions:
                        captioned.setdefault(caption, sample)
        for caption in self.names.values():
            if caption not in captioned:
                raise InputError(
                    f"Illustrated.names: {self.pictures} has no picture of {caption!r}.{nearest(caption, captioned)}"
                )
        return {caption: captioned[caption] for caption in self.names.values()}
