"""Pictures, sounds or clips with their captions from a table: CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdmm.data.audio_ref import AudioRef
from kdmm.data.distinct import distinct
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split, check_ids
from kdmm.data.tables import Table, read_table
from kdmm.data.video_ref import VideoRef
from kdmm.errors import InputError, nearest

__all__ = ["PairTable"]

OTHER_NAMES: dict[str, Split] = {"validation": "val", "valid": "val", "dev": "val"}
BYTES, PATH = "bytes", "path"  # what Hugging Face's data sets call the two fields of an image or a sound


class PairTable(Source):
    """A row is an image, a sound or a clip, or several of them, with captions; each may be missing, but not all.

    The file is read into memory, in Parquet with the media's bytes; take :class:`kdmm.data.WebDataset` for more than
    fits.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file.
        image: the column with a path, relative to ``root``, or with the file's bytes (Parquet, also as Hugging Face's
            ``{bytes, path}``). ``None``: no images.
        caption: the column with the caption or a list of them (JSONL, Parquet), or several columns. ``None``: no
            captions.
        id: the column with the ids; ``None`` takes the row's number.
        split: the column with ``train``, ``val`` or ``test``; ``None`` makes the whole table the train split.
        group: the column with the concept that the row shows, if any.
        labels: columns with class numbers.
        root: the folder that paths are relative to; ``None`` takes the table's.
        separator: between the columns of a text file that is not called ``.csv`` or ``.tsv``, or differs from it.
        audio: the column with a sound's path or the file's bytes, as for ``image``. ``None``: no sounds. A table of
            sounds alone has ``image: null`` too.
        video: the column with a clip's path, the file's bytes or a folder of frames (:class:`kdmm.data.VideoRef`), as
            for ``image``. ``None``: no clips.
    """

    def __init__(
        self,
        path: str | Path,
        image: str | None = "image",
        caption: str | Sequence[str] | None = "caption",
        id: str | None = None,
        split: str | None = None,
        group: str | None = None,
        labels: Sequence[str] = (),
        root: str | Path | None = None,
        separator: str | None = None,
        audio: str | None = None,
        video: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.image = image
        self.captions = [caption] if isinstance(caption, str) else list(caption or ())
        self.id = id
        self.split = split
        self.group = group
        self.labels = tuple(labels)
        self.root = self.path.parent if root is None else Path(root)
        self.separator = separator
        self.audio = audio
        self.video = video
        if image is None and audio is None and video is None and not self.captions:
            raise InputError("PairTable: video, image, audio and caption are all null; name a column for one of them.")

    def __str__(self) -> str:
        return f"PairTable({str(self.path)!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those in the split column, or the train split."""
        return tuple(split for split in SPLITS if split in self._by_split)

    def read(self, split: Split) -> list[Sample]:
        """Return the rows of a split."""
        return self._by_split[split]

    @cached_property
    def _by_split(self) -> dict[Split, list[Sample]]:
        wanted = [self.image, self.audio, self.video, *self.captions, self.id, self.split, self.group, *self.labels]
        names = list(dict.fromkeys(name for name in wanted if name is not None))
        table = read_table(self.path, names, self.separator, "PairTable.path")
        samples = [self._sample(table, row) for row in range(table.rows)]
        check_ids(samples, str(self))
        found: dict[Split, list[Sample]] = {}
        for row, sample in enumerate(samples):
            found.setdefault(self._split(table, row), []).append(sample)
        return found

    def _split(self, table: Table, row: int) -> Split:
        if self.split is None:
            return "train"
        name = table.columns[self.split][row]
        text = str(name).strip().lower()
        for split in SPLITS:
            if OTHER_NAMES.get(text, text) == split:
                return split
        raise InputError(
            f"{table.origin(row)}: the split is {name!r}; accepted are {', '.join((*SPLITS, *OTHER_NAMES))}."
            + nearest(text, SPLITS)
        )

    def _sample(self, table: Table, row: int) -> Sample:
        origin = table.origin(row)
        image = self._content(table, self.image, row)
        audio = self._content(table, self.audio, row)
        video = self._content(table, self.video, row)
        captions = distinct(text for name in self.captions for text in _texts(table.columns[name][row], name, origin))
        if image is None and audio is None and video is None and not captions:
            raise InputError(f"{origin} has neither an image nor a sound nor a caption nor a clip. Remove the row.")
        return Sample(
            id=str(row + 1) if self.id is None else _id(table.columns[self.id][row], origin),
            image=None if image is None else ImageRef(*image),
            captions=captions,
            group=None if self.group is None else _group(table.columns[self.group][row]),
            labels={name: _label(table.columns[name][row], name, origin) for name in self.labels},
            origin=origin,
            audio=None if audio is None else AudioRef(*audio),
            video=None if video is None else VideoRef(*video),
        )

    def _content(self, table: Table, column: str | None, row: int) -> tuple[str, Any] | None:
        """Return the path and the bytes, if there are any, of the file that a row's cell names or holds."""
        if column is None:
            return None
        value = table.columns[column][row]
        data, path = (value.get(BYTES), value.get(PATH)) if isinstance(value, dict) else (None, value)
        if isinstance(path, str) and data is None:
            return (str(self.root / path), None) if path.strip() else None
        if data is None and path is not None:
            data, path = path, None
        if data is None:
            return None
        try:
            memoryview(data)
        except TypeError:
            raise InputError(
                f"{table.origin(row)}: the column {column!r} holds {_show(data)}; a path or a file's bytes are needed."
            ) from None
        return str(path or "bytes"), data


def _texts(value: Any, column: str, origin: str) -> Iterator[str]:
    for text in value if isinstance(value, list) else [value]:
        if text is None:
            continue
        if not isinstance(text, str):
            raise InputError(
                f"{origin}: the caption column {column!r} holds {_show(text)}; text or a list of texts is needed."
            )
        yield text


def _id(value: Any, origin: str) -> str:
    if value is None or str(value).strip() == "":
        raise InputError(f"{origin}: the id is empty. Fill the column, or give no id column to number the rows.")
    return str(value)


def _group(value: Any) -> str | None:
    return str(value) if value is not None and str(value).strip() else None


def _label(value: Any, column: str, origin: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{origin}: the label column {column!r} holds {_show(value)}; a class number is needed."
        ) from None


def _show(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
