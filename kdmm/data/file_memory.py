"""What was once found out about files, kept on the disk: to read a million of them again takes minutes of a start."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from kdmm import fetch
from kdmm.errors import InputError

__all__ = ["FileMemory", "remembered"]

FILE = "files.sqlite"  # in kdmm's cache folder
SETTLED_NS = 2_000_000_000  # clocks of file systems tick in up to 2 s: a younger file may change and look the same
EVERY_S = 2.0  # so much work is lost at most by a kill
PATIENCE_S = 30.0  # for other processes that write
MAKE = "CREATE TABLE IF NOT EXISTS facts (file BLOB, kind TEXT, state TEXT, value TEXT, PRIMARY KEY (file, kind))"


class FileMemory:
    """Facts about files' content, each true while the file's path, size and times (of writing, of change) are the same.

    Several processes and threads may share one. It may be deleted at any time; where it cannot be written or read,
    everything is found out anew.

    Args:
        path: the SQLite file, made when it is needed; ``None`` keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._new: dict[tuple[bytes, str], tuple[str, str]] = {}
        self._written = time.monotonic()
        self._disk: sqlite3.Connection | None = None
        with suppress(OSError, sqlite3.OperationalError):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._disk = sqlite3.connect(path, timeout=PATIENCE_S, check_same_thread=False)
                self._tried(lambda disk: disk.execute(MAKE))

    def __del__(self) -> None:
        if self._disk is not None:
            self._disk.close()

    def get(self, path: str, kind: str, find: Callable[[], str]) -> str:
        """Return a fact about a file, found out if it is not remembered.

        Args:
            path: the file.
            kind: the fact's name.
            find: finds it out.

        Raises:
            OSError: there is no such file.
        """
        status = os.stat(path)  # noqa: PTH116  half the time of a Path's, over millions of files
        key = (os.fsencode(os.path.abspath(path)), kind)  # noqa: PTH100  as above
        state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        with self._lock:
            known = self._new.get(key) or self._looked_up(key)
        if known is not None and known[0] == state:
            return known[1]
        value = find()
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS:
            with self._lock:
                self._new[key] = (state, value)
                if time.monotonic() - self._written > EVERY_S:
                    self._write()
        return value

    def _looked_up(self, key: tuple[bytes, str]) -> tuple[str, str] | None:
        asked = "SELECT state, value FROM facts WHERE file = ? AND kind = ?"
        found: tuple[str, str] | None = self._tried(lambda disk: disk.execute(asked, key).fetchone())
        return found

    def _write(self) -> None:
        rows = [(*key, *fact) for key, fact in self._new.items()]

        def write(disk: sqlite3.Connection) -> None:
            with disk:
                disk.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)

        self._tried(write)
        self._new.clear()
        self._written = time.monotonic()

    def _tried(self, act: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do something with the file; after an error nothing is done with it any more."""
        if self._disk is None:
            return None
        try:
            return act(self._disk)
        except sqlite3.Error as error:
            self._disk.close()
            self._disk = None
            if not isinstance(error, sqlite3.OperationalError) and self.path is not None:  # it is damaged
                self.path.unlink(missing_ok=True)
            return None


def remembered(path: str, kind: str, find: Callable[[], str]) -> str:
    """Return a fact about a file, from the memory in kdmm's cache folder; see `FileMemory.get`."""
    try:
        place = fetch.cache_folder() / FILE
    except InputError:  # a user without a home folder has no cache
        place = None
    return _memory(place, os.getpid()).get(path, kind, find)


@lru_cache(maxsize=1)
def _memory(place: Path | None, process: int) -> FileMemory:
    """Return this process's own connection: a forked one may not be used."""
    return FileMemory(place)
