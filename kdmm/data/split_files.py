"""Which files hold which split, and what a split may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kdmm.data.saved_dataset import is_saved_dataset, saved_files
from kdmm.data.source import SPLITS, Split
from kdmm.data.tables import TABLES
from kdmm.errors import InputError, nearest

__all__ = ["TablePath", "files_by_split", "is_split", "split_named"]

TablePath = str | Path | Mapping[str, str | Path | Sequence[str | Path]]
"""A file or a folder, or one or several by split."""
OTHER_NAMES: dict[str, Split] = {"validation": "val", "valid": "val", "dev": "val"}


def is_split(name: str) -> bool:
    """Return whether a name means a split."""
    return OTHER_NAMES.get(name.lower(), name.lower()) in SPLITS


def split_named(name: object, origin: str) -> Split:
    """Return the split that a name means.

    Args:
        name: such as ``train`` or ``validation``, in any case.
        origin: where it stands, for the message.

    Raises:
        InputError: it means none.
    """
    text = str(name).strip().lower()
    for split in SPLITS:
        if OTHER_NAMES.get(text, text) == split:
            return split
    raise InputError(
        f"{origin}: the split is {name!r}; accepted are {', '.join((*SPLITS, *OTHER_NAMES))}.{nearest(text, SPLITS)}"
    )


def files_by_split(path: TablePath, setting: str) -> dict[Split, list[Path]]:
    """Return the tables by split.

    Of a folder, or of ``data`` in it, a table is of the split that is a word of its name, as in ``train.csv`` or
    ``validation-00000-of-00002.parquet``; one table alone may have any name and is the train split. Other files, such
    as a README, are left aside. A folder that ``save_to_disk`` wrote has the files that it says. A file is the train
    split.

    Args:
        path: a file or a folder, or one or several of them by split.
        setting: what it is set by, for messages.

    Raises:
        InputError: there is no table, or one is of no split or of several.
    """
    if isinstance(path, Mapping):
        named = [(split_named(name, setting), Path(each)) for name, given in path.items() for each in _several(given)]
        return _gathered((split, _files(each, setting)) for split, each in named)
    folder = Path(path)
    if not folder.is_dir():
        return {"train": [folder]}
    if is_saved_dataset(folder):
        name, files = saved_files(folder, setting)
        return {split_named(name, setting) if is_split(name) else "train": files}
    saved = sorted(each for each in folder.iterdir() if is_saved_dataset(each))
    if saved:
        return _gathered((split_named(each.name, f"{setting}: {each}"), _files(each, setting)) for each in saved)
    return _by_name(folder, setting)


def _several(given: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return [given] if isinstance(given, str | Path) else given


def _files(path: Path, setting: str) -> list[Path]:
    return saved_files(path, setting)[1] if is_saved_dataset(path) else [path]


def _gathered(parts: Iterable[tuple[Split, list[Path]]]) -> dict[Split, list[Path]]:
    found: dict[Split, list[Path]] = {}
    for split, files in parts:
        found.setdefault(split, []).extend(files)
    return found


def _by_name(folder: Path, setting: str) -> dict[Split, list[Path]]:
    tables = sorted(_tables(folder)) or sorted(_tables(folder / "data"))
    if not tables:
        raise InputError(
            f"{setting}: {str(folder)!r} holds no table ({', '.join(TABLES)}). Give a file, or a folder with one a "
            "split."
        )
    found = []
    for table in tables:
        words = [OTHER_NAMES.get(word, word) for word in re.split(r"[^a-z]+", table.stem.lower())]
        splits = [split for split in SPLITS if split in words]
        if not splits and len(tables) == 1:
            splits = ["train"]
        if len(splits) != 1:
            raise InputError(
                f"{setting}: the file {table.name!r} in {str(table.parent)!r} names {len(splits)} splits. Put one of "
                f"{', '.join((*SPLITS, *OTHER_NAMES))} into its name, or name the files by split."
            )
        found.append((splits[0], [table]))
    return _gathered(found)


def _tables(folder: Path) -> Iterable[Path]:
    return (path for path in folder.glob("*") if path.suffix.lower() in TABLES) if folder.is_dir() else ()
