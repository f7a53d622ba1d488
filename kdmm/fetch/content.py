"""The checksum of a folder's content, the same on every file system."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["checksum", "files_in"]

BLOCK = 2**20  # bytes read at once


def checksum(folder: Path) -> str:
    r"""Return the SHA-256 of a list of all files below ``folder``, in hexadecimal.

    The list has one line a file, ``<SHA-256 of the file>  <path below the folder>``, in the order of the paths' bytes.
    It is what ``find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum`` writes. Symbolic links and
    empty folders do not count.
    """
    whole = hashlib.sha256()
    for name in files_in(folder):
        whole.update(f"{file_checksum(folder / name)}  ".encode() + os.fsencode(name) + b"\n")
    return whole.hexdigest()


def files_in(folder: Path) -> list[str]:
    """Return the paths of all files below ``folder``, with ``/``, in the order of their bytes."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted((path.relative_to(folder).as_posix() for path in found), key=os.fsencode)


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            total.update(block)
    return total.hexdigest()
