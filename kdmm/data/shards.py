"""Reading WebDataset shards: local files or URLs, whole or with an error that names the shard."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import tarfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from braceexpand import braceexpand
from webdataset import tariterators

from kdmm.data.file_memory import remembered
from kdmm.errors import InputError, nearest

__all__ = ["Entry", "count_samples", "expand", "index_of", "is_web", "read_shard"]

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")
WEB = ("http", "https")
END = bytes(1024)  # two blocks of zeros end a tar
TIMEOUT_S = 60.0
META = re.compile(r"__[^/]*__($|/)")  # names that WebDataset passes over
TEXTS = ("txt", "json")
LABEL_BYTES = 64  # a file that may hold a class number

Entry = tuple[str, dict[str, str | int]]
"""A sample of a shard: its key, and for each of its files, by ending, the text if it is one, else the size in bytes."""


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
        if not is_web(shard) and not Path(shard).is_file():
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


def index_of(shard: str) -> list[Entry]:
    """Return what a local shard holds. Pictures and sounds are passed over, and what was found is remembered.

    Raises:
        InputError: the shard cannot be opened, is no tar or is cut off.
    """
    found = json.loads(remembered(shard, "samples", lambda: json.dumps(list(_entries(shard)))))
    return [(key, files) for key, files in found]


def count_samples(shard: str) -> int:
    """Count the samples of a local shard, as `index_of` finds them."""
    return int(remembered(shard, "count", lambda: str(len(index_of(shard)))))


def _entries(shard: str) -> Iterator[Entry]:
    try:
        with _open(shard) as stream, tarfile.open(fileobj=stream) as tar:
            for found in tariterators.group_by_keys(_files(shard, tar)):
                yield found.pop("__key__"), {ending: x for ending, x in found.items() if ending != "__url__"}
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InputError(f"The shard {shard!r} cannot be read: {_first_line(error)}.") from error


def _files(shard: str, tar: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    """Yield the files of a shard as WebDataset does, but for the content of those that are no texts."""
    for member in tar:
        if member.isreg() and not META.match(member.name):
            ending = (tariterators.base_plus_ext(member.name)[1] or "").lower()
            content: str | int = member.size
            if ending in TEXTS or member.size <= LABEL_BYTES:
                file = tar.extractfile(member)
                assert file is not None
                content = file.read().decode("utf-8", "surrogateescape")
            yield {"fname": member.name, "data": content, "__url__": shard}


def _braces(pattern: str, setting: str) -> list[str]:
    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise InputError(f"{setting}: the braces of {pattern!r} do not match.") from error


def is_web(shard: str) -> bool:
    """Return whether a shard is behind a URL."""
    return shard.lower().startswith(("http://", "https://"))


def _open(shard: str) -> io.BufferedIOBase:
    if is_web(shard):
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
