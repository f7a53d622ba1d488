"""Folders that Hugging Face's ``datasets`` writes with ``save_to_disk``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdmm.data.json_text import parsed_json
from kdmm.errors import InputError

__all__ = ["is_saved_dataset", "saved_files"]

STATE = "state.json"


def is_saved_dataset(folder: Path) -> bool:
    """Return whether a folder holds one split that was saved."""
    return (folder / STATE).is_file()


def saved_files(folder: Path, setting: str) -> tuple[str, list[Path]]:
    """Return the name of a saved split, empty if it has none, and its Arrow files in their order.

    Args:
        folder: for which `is_saved_dataset`.
        setting: what it is set by, for messages.

    Raises:
        InputError: the folder is not as ``datasets`` writes it.
    """
    path = folder / STATE
    try:
        state: dict[str, Any] = parsed_json(path.read_bytes())
        files = [folder / file["filename"] for file in state["_data_files"]]
        name = state.get("_split") or ""
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{setting}: {path} does not say which files the data set has ({type(error).__name__}: {error}). Save it "
            "again with `save_to_disk`, or write each split with `to_parquet`."
        ) from error
    for file in files:
        if not file.is_file():
            raise InputError(
                f"{setting}: {path} names {file.name!r}, and there is no such file. Copy the folder whole."
            )
    return str(name), files
