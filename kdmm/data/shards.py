"""Reading WebDataset shards: local files or URLs, whole or with an error that names the shard."""

from __future__ import annotations

import http.client
import io
import os
import re
import tarfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from braceexpand import braceexpand
from webdataset import tariterators

from kdmm.errors import InputError, nearest

__all__ = ["count_samples", "expand", "read_shard"]

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")
WEB = ("http", "https")
END = bytes(1024)  # two blocks of zeros end a tar
TIMEOUT_S = 60.0


def expand(urls: str | Sequence[str], setting: str) -> list[str]:
    """Return the shards that a pattern with braces names, such as ``shards/{000..099}.tar``.

    Only paths and http(s) are taken: the ``pipe:`` of WebDataset runs commands, and its other schemes start programs.

    Raises:
        InputError: another scheme, no shard, or a local shard that is missing.
    """
    patterns = [urls] if isinstance(urls, str) else list(urls)
    shards = [shard for pattern in patterns for shard in _braces(pattern, setting)]
    if not shards:
        raise InputError(
            f"{setting}: no shards given. Give a path or URL, with braces for several: shards/{{000..099}}.tar."
        )
    for shard in shards:
        found = SCHEME.match(shard)
        if found and found[1].lower() not in WEB and not Path(shard).exists():
            raise InputError(
                f"{setting}: {shard!r} is refused: shards are paths, http:// or https:// URLs. `{found[1]}:` is not "
                "read, since WebDataset starts programs for such URLs."
            )
        if not _is_web(shard) and not Path(shard).is_file():
            folder = Path(shard).parent
            near = [other.name for other in folder.iterdir()] if folder.is_dir() else []
            raise InputError(f"{setting}: there is no shard {shard!r}.{nearest(Path(shard).name, near)}")
    return shards


def read_shard(shard: str) -> Iterator[dict[str, Any]]:
    """Yield the samples of a shard: ``__key__`` and the bytes of each file by its extension.

    Raises:
        InputError: the shard cannot be opened, is no tar or is cut off. Raised where the fault is met.
    """
    try:
        with _open(shard) as stream:
            files = tariterators.tar_file_expander([{"url": shard, "stream": stream}])
            yield from tariterators.group_by_keys(files)
    except (tarfile.TarError, http.client.HTTPException, EOFError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The shard {shard!r} cannot be read: {_first_line(error)}. If it is cut off, fetch it again."
        ) from error


def count_samples(shard: str) -> int:
    """Count the samples of a local shard by its headers alone."""
    try:
        with _open(shard) as stream, tarfile.open(fileobj=stream) as tar:
            keys = [tariterators.base_plus_ext(member.name)[0] for member in tar if member.isreg()]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"The shard {shard!r} cannot be read: {_first_line(error)}.") from error
    named = [key for key in keys if key is not None]
    return sum(1 for n, key in enumerate(named) if n == 0 or key != named[n - 1])


def _braces(pattern: str, setting: str) -> list[str]:
    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise InputError(f"{setting}: the braces of {pattern!r} do not match.") from error


def _is_web(shard: str) -> bool:
    return shard.lower().startswith(("http://", "https://"))


def _open(shard: str) -> io.BufferedIOBase:
    if _is_web(shard):
        response = urllib.request.urlopen(shard, timeout=TIMEOUT_S)
        length = response.headers.get("Content-Length")
        return io.BufferedReader(_Counted(response, None if length is None else int(length)))
    file = Path(shard).open("rb")  # noqa: SIM115  the caller closes it
    if shard.endswith(".tar"):  # a tar cut off between two members reads like a whole one
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(END)))
        if file.read() != END:
            file.close()
            raise tarfile.ReadError("the end mark is missing")
        file.seek(0)
    return file


class _Counted(io.RawIOBase):
    """A response that must be as long as it said."""

    def __init__(self, response: Any, length: int | None) -> None:
        super().__init__()
        self.response = response
        self.missing = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = self.response.read(len(buffer))
        buffer[: len(got)] = got
        if self.missing is not None:
            self.missing -= len(got)
            if not got and self.missing > 0:
                raise EOFError(f"the connection ended {self.missing} bytes early")
        return len(got)

    def close(self) -> None:
        self.response.close()
        super().close()


def _first_line(error: Exception) -> str:
    """Return an error's message without what WebDataset adds to it."""
    text = str(error.args[0]) if error.args else str(error)
    return text.split(" @ ")[0].splitlines()[0] if text.strip() else type(error).__name__
