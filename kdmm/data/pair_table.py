"""Pictures, sounds or clips with their captions from tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdmm.data.audio_ref import AudioRef
from kdmm.data.class_values import Classes, class_number
from kdmm.data.columns import Table
from kdmm.data.distinct import distinct
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample
from kdmm.data.split_files import TablePath
from kdmm.data.table_source import TableSource, shown, texts_in
from kdmm.data.video_ref import VideoRef
from kdmm.errors import InputError, nearest

__all__ = ["PairTable"]

BYTES, PATH = "bytes", "path"  # what Hugging Face's data sets call the two fields of an image or a sound


class PairTable(TableSource):
    """A row is an image, a sound or a clip, or several of them, with captions; each may be missing, but not all.

    The files are read into memory, in Parquet and Arrow with the media's bytes; take :class:`kdmm.data.WebDataset` for
    more than fits.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet`` or ``.arrow`` file; one or several by split, as
            ``{train: ...}``; or a folder with such files whose names hold their split's, as Hugging Face's ``datasets``
            reads it, or that its ``save_to_disk`` wrote.
        image: the column with a path, relative to ``root``, or with the file's bytes (Parquet, Arrow, also as Hugging
            Face's ``{bytes, path}``). ``None``: no images.
        caption: the column with the caption or a list of them (JSONL, Parquet, Arrow), or several columns. ``None``: no
            captions.
        id: the column with the ids; ``None`` numbers the rows.
        split: the column with ``train``, ``val`` or ``test``; ``None``: as the files are, one alone is the train split.
        group: the column with the concept that the row shows, if any.
        labels: columns with class numbers, 0 or more, or with names of ``class_names``.
        root: the folder that paths are relative to; ``None`` takes each table's own.
        separator: between the columns of a text file that is not called ``.csv`` or ``.tsv``, or differs from it.
        audio: the column with a sound's path or the file's bytes, as for ``image``. ``None``: no sounds. A table of
            sounds alone has ``image: null`` too.
        video: the column with a clip's path, the file's bytes or a folder of frames (:class:`kdmm.data.VideoRef`), as
            for ``image``. ``None``: no clips.
        quoted: whether quotation marks around a cell are not part of it; ``None``: they are not, but between tabs a
            cell that begins with one is refused.
        class_names: by label, in the order of the classes' numbers. Without them, what ``datasets`` wrote into Parquet
            and Arrow files.
        unlabelled: whether a row may be without a class (an empty cell, or -1).

    Raises:
        InputError: what is set cannot be, or a file or a row is broken; the message names both.
    """

    def __init__(
        self,
        path: TablePath,
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
        quoted: bool | None = None,
        class_names: Mapping[str, Sequence[str]] | None = None,
        unlabelled: bool = False,
    ) -> None:
        super().__init__(path, id, split, group, separator, quoted)
        self.image = image
        self.captions = [caption] if isinstance(caption, str) else list(caption or ())
        self.labels = tuple(labels)
        self.named = {
            label: Classes(names, f"PairTable.class_names.{label}") for label, names in (class_names or {}).items()
        }
        self.unlabelled = unlabelled
        self.root = None if root is None else Path(root)
        self.audio = audio
        self.video = video
        if image is None and audio is None and video is None and not self.captions:
            raise InputError("PairTable: video, image, audio and caption are all null; name a column for one of them.")
        for label in self.named:
            if label not in self.labels:
                raise InputError(
                    f"PairTable.class_names: {label!r} is not among `labels` ({', '.join(self.labels) or 'none'}). Add "
                    f"it, or leave its names out.{nearest(label, self.labels)}"
                )

    @property
    def columns(self) -> Sequence[str | None]:
        """Those of the media, captions and labels."""
        return (self.image, self.audio, self.video, *self.captions, *self.labels)

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the classes, of the labels that have any."""
        return {label: classes.names for label, classes in self._classes.items() if classes is not None}

    @cached_property
    def _classes(self) -> dict[str, Classes | None]:
        return {label: self.named.get(label) or self.classes_in_files(label) for label in self.labels}

    def sample(self, table: Table, row: int, id: str, group: str | None, origin: str) -> Sample:
        """Return the sample of a row."""
        image = self._content(table, self.image, row)
        audio = self._content(table, self.audio, row)
        video = self._content(table, self.video, row)
        captions = distinct(
            text
            for name in self.captions
            for text in texts_in(table.columns[name][row], f"caption column {name!r}", origin)
        )
        if image is None and audio is None and video is None and not captions:
            raise InputError(f"{origin} has neither an image nor a sound nor a caption nor a clip. Remove the row.")
        return Sample(
            id=id,
            image=None if image is None else ImageRef(*image),
            captions=captions,
            group=group,
            labels={
                name: class_number(table.columns[name][row], name, origin, classes, self.unlabelled)
                for name, classes in self._classes.items()
            },
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
            return (str((self.root or table.path.parent) / path), None) if path.strip() else None
        if data is None and path is not None:
            data, path = path, None
        if data is None:
            return None
        try:
            memoryview(data)
        except TypeError:
            raise InputError(
                f"{table.origin(row)}: the column {column!r} holds {shown(data)}; a path or a file's bytes are needed."
            ) from None
        return str(path or "bytes"), data
