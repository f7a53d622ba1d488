"""Which files of a folder hold which split, and what a split may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from kdmm.data.files import existing_folder
from kdmm.data.source import SPLITS, Split
from kdmm.errors import InputError, nearest

__all__ = ["split_files", "split_named"]

OTHER_NAMES: dict[str, Split] = {"validation": "val", "valid": "val", "dev": "val"}
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")


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


def split_files(folder: Path, setting: str) -> dict[Split, list[Path]]:
    """Return the tables of a folder, or of ``data`` in it, by split.

    A file is of the split that is a word of its name, as in ``train.csv`` or ``validation-00000-of-00002.parquet``; one
    table alone may have any name and is the train split. Other files, such as a README, are left aside.

    Args:
        folder: that holds tables as Hugging Face's ``datasets`` loads them.
        setting: what it is set by, for messages.

    Raises:
        InputError: there is no table, or one is of no split or of several.
    """
    existing_folder(folder, setting)
    tables = sorted(_tables(folder)) or sorted(_tables(folder / "data"))
    if not tables:
        arrow = any(folder.rglob("*.arrow"))
        hint = "Arrow files, as `save_to_disk` writes them; write each split with `to_parquet`" if arrow else "no table"
        raise InputError(f"{setting}: {str(folder)!r} holds {hint} ({', '.join(TABLES)}).")
    found: dict[Split, list[Path]] = {}
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
        found.setdefault(splits[0], []).append(table)
    return found


def _tables(folder: Path) -> Iterable[Path]:
    return (path for path in folder.glob("*") if path.suffix.lower() in TABLES) if folder.is_dir() else ()
