"""What every reference to a file shares: opening it, and telling whether its content has changed."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

from kdmm.errors import InputError, nearest

__all__ = ["existing_folder", "hash_bytes", "identity_of", "open_file"]


def open_file(path: str, data: Any) -> io.BufferedIOBase:
    """Open a file, or its bytes.

    Args:
        path: the file.
        data: its bytes, or another object with Python's buffer protocol; ``None``: they are in ``path``.

    Raises:
        InputError: it cannot be opened, or is empty; the message says why, without the path.
    """
    file: io.BufferedIOBase
    try:
        file = Path(path).open("rb") if data is None else io.BytesIO(data)  # noqa: SIM115  the caller closes it
    except FileNotFoundError:
        raise InputError("there is no such file") from None
    except IsADirectoryError:
        raise InputError("this is a folder, no file") from None
    except PermissionError:
        raise InputError("this file may not be read") from None
    except (OSError, ValueError) as error:  # a name too long or with a zero byte, a disk that fails
        raise InputError(f"this file cannot be opened: {error}") from error
    empty = file.seek(0, os.SEEK_END) == 0
    file.seek(0)
    if empty:
        file.close()
        raise InputError("the file is empty")
    return file


def identity_of(path: str, data: Any) -> str:
    """Return what changes when a file does: its path, size and time of change, or its bytes' hash.

    Args:
        path: the file.
        data: as for :func:`open_file`.
    """
    if data is not None:
        return f"{path} {hash_bytes(data)}"
    try:
        status = Path(path).stat()
    except OSError:
        return path
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def hash_bytes(data: Any) -> str:
    """Return a hash of an object with the buffer protocol."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def existing_folder(path: Path, setting: str) -> Path:
    """Return ``path``.

    Args:
        path: a folder.
        setting: what it is set by, for messages.

    Raises:
        InputError: it is no folder.
    """
    if not path.is_dir():
        near = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        kind = "a file, a folder is needed" if path.is_file() else "there is no such folder"
        raise InputError(f"{setting}: {str(path)!r}: {kind}.{nearest(path.name, near)}")
    return path
