"""The version of stores: what stands where in their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdmm.errors import InputError

__all__ = ["VERSION", "check_version"]

VERSION = 3  # one more with every change


def check_version(folder: Path, version: Any) -> None:
    """Refuse a store of another version.

    Raises:
        InputError: it has one.
    """
    if version != VERSION:
        raise InputError(
            f"The store {folder} has the version {version}, and this kdmm reads and writes {VERSION}. Delete the "
            "folder, and run `kdmm cache` again."
        )
