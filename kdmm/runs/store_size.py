"""What a store of a teacher's answers would hold: how many of what, and in how many bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from kdmm.data.sample import Sample
from kdmm.errors import InputError
from kdmm.teachers import Teacher
from kdmm.teachers.cache.answering import columns_of
from kdmm.teachers.cache.formats import parse_format
from kdmm.teachers.cache.keys import TEXTS
from kdmm.teachers.cache.members import members_of
from kdmm.teachers.cache.requests import texts_of_sample
from kdmm.teachers.cache.settings import Settings

__all__ = ["TableSize", "store_tables"]

KEY_BYTES = 8  # of a row
LOOKED_AT = 256  # samples of shards behind URLs, whose content is not known before it is read


@dataclass(frozen=True)
class TableSize:
    """How large the table of what is said of some modalities would be.

    Args:
        part: the teacher's name in a batch.
        reads: the modalities.
        rows: answers; of shards behind URLs about as many.
        shapes: of an answer, by output.
        ragged: outputs with a place for each token, whose number is that of the longest text beside it.
    """

    part: str
    reads: tuple[str, ...]
    rows: float | int
    shapes: Mapping[str, tuple[int, ...]]
    ragged: frozenset[str]

    @property
    def name(self) -> str:
        """As in the store."""
        return f"{self.part}.{'+'.join(self.reads)}"

    @property
    def is_media(self) -> bool:
        """Whether answers are by sample and view, and not by text."""
        return _is_media(self.reads)

    def bytes_in(self, dtype: str) -> float:
        """Return the bytes of its rows and their keys.

        Args:
            dtype: a format's name, such as ``float16``.
        """
        each = sum(parse_format(dtype).bytes_of(shape) for shape in self.shapes.values())
        flags = sum(self.shapes[name][0] for name in self.ragged)
        return float(self.rows * (each + flags + KEY_BYTES))


def store_tables(teacher: Teacher, data: Any, outputs: Sequence[str] = ()) -> list[TableSize]:
    """Return the tables of the store that ``kdmm cache`` would write of the splits that training asks about.

    Args:
        teacher: that runs.
        data: the DataModule, set up.
        outputs: what is kept of what the teacher says; none: all of it.

    Raises:
        InputError: the answers cannot be stored; the message says why.
    """
    settings = Settings(tuple(each for each in ("train", "val") if data.has(each)), outputs=tuple(outputs))
    found = []
    for part, member in members_of(teacher).items():
        if data.views is None and _is_media(member.preprocess.modalities):
            raise InputError("views: null: each pass has new ones. Set `data.views`.")
        for reads, columns in columns_of(part, member, data, settings)[0].items():
            shapes = {name: column.shape for name, column in columns.items()}
            ragged = frozenset(name for name, column in columns.items() if column.ragged)
            found.append(TableSize(part, reads, _rows(data, settings.splits, reads), shapes, ragged))
    return found


def _is_media(reads: Sequence[str]) -> bool:
    return any(each not in TEXTS for each in reads)


def _rows(data: Any, splits: Iterable[str], reads: Sequence[str]) -> float:
    rows, texts = 0.0, set[tuple[str, ...]]()
    for split in splits:
        samples, views = data.everything(split), data.views if split == "train" else 1
        known = (place.sample for place in samples.walk(listed=True))
        if _is_media(reads):
            rows += views * sum(all(map(sample.has, reads)) for sample in known)
        else:
            texts.update(chain.from_iterable(texts_of_sample(sample, reads) for sample in known))
        for name in samples.unlisted:
            first = _first(samples.feeds[name])
            each = [
                views * all(map(sample.has, reads)) if _is_media(reads) else len(texts_of_sample(sample, reads))
                for sample in first
            ]
            rows += samples.counts[name] * sum(each) / max(1, len(each))
    return rows + len(texts)


def _first(feed: Any) -> list[Sample]:
    read = feed.read(feed.evaluation_request(range(min(LOOKED_AT, len(feed)))))
    return [sample for sample, _ in read if isinstance(sample, Sample)]
