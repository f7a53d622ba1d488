"""What every reference to a file shares: opening it, and telling whether its content has changed."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

from kdmm.data.file_memory import remembered
from kdmm.errors import InputError, nearest

__all__ = ["existing_folder", "hash_bytes", "identity_of", "open_file", "state_of"]

WHOLE_BYTES = 1 << 24  # a file that is hashed whole: any picture, and a minute of sound
BLOCKS, BLOCK_BYTES = 64, 1 << 16  # of a larger one
UNREADABLE = "no file"  # in the place of what a missing one holds


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
    """Return what changes when a file's content does, wherever it lies and whenever it was written: its size and hash.

    Bytes, and a file of up to 16 MiB, are hashed whole, so that one other byte is told. Of a larger one, such as a film
    or a shard, 64 blocks of 64 KiB at equal distances are, the first and the last among them: another file, and one
    that was encoded or packed anew or cut off, is told; a change in place that moves nothing is told only where it
    touches a block. What was hashed once is not read again while its path, size and times are the same.

    Args:
        path: the file.
        data: as for :func:`open_file`.
    """
    if data is not None:
        return f"{memoryview(data).nbytes} {hash_bytes(data)}"
    try:
        return remembered(path, "content", lambda: _hashed(path))
    except (OSError, ValueError):  # the latter for a zero byte in the name
        return UNREADABLE


def state_of(path: str, data: Any) -> str:
    """Return what tells files and their states apart on this machine, unread: path, size and time of writing.

    Args:
        path: the file.
        data: as for :func:`open_file`; bytes are told apart by their hash.
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


def _hashed(path: str) -> str:
    """Return the size and the hash of a file, or of blocks of a large one."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= WHOLE_BYTES:
            return f"{size} {hash_bytes(file.read())}"
        digest = hashlib.blake2b(digest_size=16)
        for number in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
        return f"{size} {digest.hexdigest()}"
