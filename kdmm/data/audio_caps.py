"""AudioCaps: ten seconds of YouTube videos with captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from kdmm.data.audio_ref import AudioRef
from kdmm.data.distinct import distinct
from kdmm.data.files import existing_folder
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.data.tables import Table, read_table
from kdmm.errors import InputError

__all__ = ["AudioCaps"]

SECONDS = 10  # of a clip
COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
EXAMPLE = {"audiocap_id": "91139", "youtube_id": "r1nicOVtvkQ", "start_time": 130, "end_time": 140, "split": "train"}


class AudioCaps(Source):
    """AudioCaps (Kim et al. 2019, https://aclanthology.org/N19-1011), its own splits.

    The tables ``train.csv``, ``val.csv`` and ``test.csv`` come from https://github.com/cdjkim/audiocaps, and everyone
    gets the sounds from YouTube, where videos vanish. A clip's rows, one in train and five in val and test, become one
    sample with their captions.

    Args:
        tables: the folder of the tables; a split whose table is missing is one that the source lacks.
        audio: the folder of the sounds.
        file: a clip's path below ``audio``, with ``{youtube_id}``, ``{start_time}``, ``{end_time}`` (seconds),
            ``{audiocap_id}`` (of its first row) and ``{split}``, and Python's formats for numbers, such as
            ``{split}/Y{youtube_id}_{start_time:.3f}.flac``.
        whole: whether the files hold the whole sound track, of which the ten seconds are read, or the clip alone.
        missing: whether a clip without a file stops the run or is left out and counted.
    """

    def __init__(
        self,
        tables: str | Path,
        audio: str | Path,
        file: str = "{youtube_id}_{start_time}.wav",
        whole: bool = False,
        missing: Literal["stop", "skip"] = "stop",
    ) -> None:
        self.tables = Path(tables)
        self.audio = Path(audio)
        self.file = file
        self.whole = whole
        self.missing = missing
        try:
            file.format(**EXAMPLE)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise InputError(
                f"AudioCaps.file: {file!r} cannot be filled in ({error}); it may name {', '.join(EXAMPLE)}."
            ) from None
        if missing not in ("stop", "skip"):
            raise InputError(f"AudioCaps.missing: {missing!r} given; accepted are stop, skip.")

    def __str__(self) -> str:
        return f"AudioCaps({str(self.tables)!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those whose table is there."""
        existing_folder(self.tables, "AudioCaps.tables")
        found = tuple(split for split in SPLITS if self._table(split).is_file())
        if not found:
            raise InputError(f"AudioCaps.tables: {str(self.tables)!r} holds none of train.csv, val.csv, test.csv.")
        return found

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name, and how many clips are left out for want of a file."""
        return {**super().describe(split), "missing": self._read(split)[1]}

    def read(self, split: Split) -> list[Sample]:
        """Return the clips of a split that have a file."""
        return self._read(split)[0]

    def _read(self, split: Split) -> tuple[list[Sample], int]:
        """Return the samples of a split, and the number of clips without a file."""
        existing_folder(self.audio, "AudioCaps.audio")
        table = read_table(self._table(split), COLUMNS, None, "AudioCaps.tables")
        rows: dict[tuple[str, float], list[int]] = {}
        for row, video in enumerate(table.columns["youtube_id"]):
            rows.setdefault((video, _start(table, row)), []).append(row)
        samples, gone = [], []
        for (video, start), own in rows.items():
            name = self.file.format(
                audiocap_id=table.columns["audiocap_id"][own[0]],
                youtube_id=video,
                start_time=start,
                end_time=start + SECONDS,
                split=split,
            )
            path, origin = self.audio / name, table.origin(own[0])
            if not path.is_file():
                gone.append(f"{origin}: there is no file {str(path)!r}")
                continue
            stretch = {"start_s": start, "seconds": SECONDS} if self.whole else {}
            captions = distinct(table.columns["caption"][row] for row in own)
            sound = AudioRef(str(path), **stretch)
            samples.append(Sample(id=f"{video}_{start}", audio=sound, captions=captions, origin=origin))
        if gone and (self.missing == "stop" or not samples):
            raise InputError(
                f"{gone[0]}; {len(gone)} of {len(rows)} clips have none. Correct AudioCaps.file or AudioCaps.audio, or "
                "leave out what has vanished: `missing: skip`."
            )
        return samples, len(gone)

    def _table(self, split: Split) -> Path:
        return self.tables / f"{split}.csv"


def _start(table: Table, row: int) -> float | int:
    text = table.columns["start_time"][row]
    try:
        start = float(text)
        if 0 <= start < float("inf"):
            return int(start) if start.is_integer() else start
    except ValueError:
        pass
    raise InputError(f"{table.origin(row)}: the start_time is {text!r}; seconds are needed, 0 or more.")
