"""Room on the disk, and folders that appear whole."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdmm.errors import InputError
from kdmm.fetch.cache import cache_folder
from kdmm.fetch.catalogue import Fetchable

__all__ = ["OWN_FOLDER", "appearing", "check_room", "clear_disk_errors"]

MB = 10**6  # bytes
OWN_FOLDER = "A source also takes a folder that you already have: set its `folder`."


def check_room(wanted: Fetchable, downloads: Path) -> None:
    """Refuse to begin what would not fit.

    Args:
        wanted: what is to be fetched.
        downloads: the folder with what has been downloaded of it.

    Raises:
        OSError: of the kind that a full disk raises.
    """
    there = sum(path.stat().st_size for path in downloads.rglob("*") if path.is_file()) if downloads.exists() else 0
    needed = (wanted.download_mb + wanted.disk_mb) * MB - there
    if shutil.disk_usage(cache_folder()).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def clear_disk_errors(wanted: Fetchable) -> Iterator[None]:
    """Turn what goes wrong with the disk into an `InputError` with the remedy."""
    try:
        yield
    except BrokenPipeError:  # what is printed finds no reader
        raise
    except OSError as error:
        cache = cache_folder()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{wanted.name}: the disk that holds {cache} is full; {wanted.download_mb + wanted.disk_mb} MB are "
                f"needed. Make room, or set KDMM_CACHE to a folder on another disk. {OWN_FOLDER}"
            ) from error
        raise InputError(
            f"KDMM_CACHE: the cache {cache} cannot be used ({error}). Set it to a folder that you may write to."
        ) from error


@contextmanager
def appearing(place: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``place``; on leaving it takes its place, or is deleted after an error.

    What a killed process left of earlier ones is deleted; so hold a lock. Each has a name of its own, since a client
    may outlive the process that started it and go on writing.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    for stale in place.parent.glob(f".{place.name}.*"):
        shutil.rmtree(stale, ignore_errors=True)
    fresh, old = (place.with_name(f".{place.name}.{secrets.token_hex(4)}") for _ in range(2))
    fresh.mkdir()
    try:
        yield fresh
        if place.exists():  # a folder that holds something is not replaced in one step
            place.rename(old)
        fresh.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
