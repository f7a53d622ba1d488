"""Classified sounds in numbered folds, the form in which data sets for sound classification come."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdmm.data.audio_ref import AudioRef
from kdmm.data.files import existing_folder
from kdmm.data.sample import Sample
from kdmm.data.source import Source, Split
from kdmm.data.tables import Table, read_table
from kdmm.errors import InputError, nearest

__all__ = ["FoldLayout", "SoundFolds"]


@dataclass(frozen=True)
class FoldLayout:
    """Where such a data set keeps what.

    Args:
        table: the file with a row a sound, below the root.
        audio: the path of a sound below the root, with ``{file}`` and ``{fold}``.
        file: the column with the file's name.
        fold: the column with the fold's number.
        number: the column with the class's number, from 0.
        name: the column with the class's name, its words joined by ``_``.
        recording: the column with the recording that a sound was cut from.
        folds: how many there are, from 1.
    """

    table: str
    audio: str
    file: str
    fold: str
    number: str
    name: str
    recording: str
    folds: int


class SoundFolds(Source):
    """Sounds of one class each, tested fold by fold. A new data set is one subclass with `layout`.

    Args:
        root: the folder as it was unpacked.
        fold: which one is for testing, from 1.
        val_fold: which other one is for validation; ``None``: none, all others are for training.
        caption: a template with one ``{}`` for the class's name; ``None``: no captions.
    """

    def __init__(
        self, root: str | Path, fold: int = 1, val_fold: int | None = None, caption: str | None = "{}"
    ) -> None:
        self.root = Path(root)
        self.fold = fold
        self.val_fold = val_fold
        self.caption = caption
        for setting, value in (("fold", fold), ("val_fold", val_fold)):
            if value is not None and not 1 <= value <= self.layout.folds:
                raise InputError(
                    f"{type(self).__name__}.{setting}: {value} given; the folds are 1 to {self.layout.folds}."
                )
        if val_fold == fold:
            raise InputError(f"{type(self).__name__}.val_fold: {val_fold} is the test fold; give another, or null.")
        if caption is not None and not caption.count("{}") == caption.count("{") == caption.count("}") == 1:
            raise InputError(
                f"{type(self).__name__}.caption: {caption!r} given; write the class name's place as one {{}}."
            )

    @property
    @abstractmethod
    def layout(self) -> FoldLayout:
        """Where the data set keeps what."""

    def __str__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Train and test, and val where a fold is for it."""
        return ("train", "test") if self.val_fold is None else ("train", "val", "test")

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``category``, in plain words."""
        return {"category": self._class_names(self._table())}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name and the fold."""
        return {**super().describe(split), "fold": self.fold}

    def read(self, split: Split) -> list[Sample]:
        """Return the sounds of the split's folds."""
        held_out = {"val": self.val_fold, "test": self.fold}
        table = self._table()
        names = self._class_names(table)
        samples = []
        for row in range(table.rows):
            fold = self._number(table, row, self.layout.fold)
            if not 1 <= fold <= self.layout.folds:
                raise InputError(f"{table.origin(row)}: the fold is {fold}; the folds are 1 to {self.layout.folds}.")
            if fold == held_out[split] if split in held_out else fold not in held_out.values():
                samples.append(self._sample(table, row, fold, names))
        return samples

    def _sample(self, table: Table, row: int, fold: int, names: tuple[str, ...]) -> Sample:
        columns = table.columns
        file = columns[self.layout.file][row]
        path = self.root / self.layout.audio.format(file=file, fold=fold)
        if not path.is_file():
            near = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
            raise InputError(f"{table.origin(row)}: there is no file {str(path)!r}.{nearest(file, near)}")
        category = self._number(table, row, self.layout.number)
        return Sample(
            id=file,
            audio=AudioRef(str(path)),
            captions=() if self.caption is None else (self.caption.format(names[category]),),
            group=columns[self.layout.recording][row],
            labels={"category": category},
            origin=table.origin(row),
        )

    def _table(self) -> Table:
        setting, layout = f"{type(self).__name__}.root", self.layout
        path = existing_folder(self.root, setting) / layout.table
        columns = (layout.file, layout.fold, layout.number, layout.name, layout.recording)
        return read_table(path, columns, None, setting)

    def _class_names(self, table: Table) -> tuple[str, ...]:
        names: dict[int, str] = {}
        for row in range(table.rows):
            number, name = self._number(table, row, self.layout.number), table.columns[self.layout.name][row]
            if names.setdefault(number, name) != name:
                raise InputError(f"{table.origin(row)}: the class {number} is {name!r}, and {names[number]!r} above.")
        if sorted(names) != list(range(len(names))):
            raise InputError(
                f"{table.path}: the {len(names)} classes are numbered {', '.join(map(str, sorted(names)))}; numbers "
                "from 0 without gaps are needed."
            )
        return tuple(" ".join(names[number].replace("_", " ").split()) for number in range(len(names)))

    @staticmethod
    def _number(table: Table, row: int, column: str) -> int:
        text = table.columns[column][row]
        try:
            return int(text)
        except ValueError:
            raise InputError(f"{table.origin(row)}: the column {column!r} holds {text!r}, no whole number.") from None
