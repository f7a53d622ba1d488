"""Pictures, sounds or clips with their captions from a table: CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdmm.data.audio_ref import AudioRef
from kdmm.data.distinct import distinct
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample
from kdmm.data.table_source import TableSource, shown, texts_in
from kdmm.data.tables import Table
from kdmm.data.video_ref import VideoRef
from kdmm.errors import InputError

__all__ = ["PairTable"]

BYTES, PATH = "bytes", "path"  # what Hugging Face's data sets call the two fields of an image or a sound


class PairTable(TableSource):
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
        super().__init__(path, id, split, group, separator)
        self.image = image
        self.captions = [caption] if isinstance(caption, str) else list(caption or ())
        self.labels = tuple(labels)
        self.root = self.path.parent if root is None else Path(root)
        self.audio = audio
        self.video = video
        if image is None and audio is None and video is None and not self.captions:
            raise InputError("PairTable: video, image, audio and caption are all null; name a column for one of them.")

    @property
    def columns(self) -> Sequence[str | None]:
        """Those of the media, captions and labels."""
        return (self.image, self.audio, self.video, *self.captions, *self.labels)

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
                f"{table.origin(row)}: the column {column!r} holds {shown(data)}; a path or a file's bytes are needed."
            ) from None
        return str(path or "bytes"), data


def _label(value: Any, column: str, origin: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{origin}: the label column {column!r} holds {shown(value)}; a class number is needed."
        ) from None
