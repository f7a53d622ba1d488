"""What has been fetched, and where it lies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kdmm.atomic import writing
from kdmm.errors import InputError
from kdmm.fetch.cache import cache_folder
from kdmm.fetch.catalogue import entry

__all__ = ["Record", "folder", "place_of", "present"]

FILE = "fetched.json"


@dataclass(frozen=True)
class Record:
    """What is noted of a set in its folder, as ``fetched.json``.

    Args:
        name: the set's.
        packages: those it was unpacked from.
        version: theirs.
        sha256: the checksum of the content (:func:`kdmm.fetch.content.checksum`).
        known: whether the catalogue knows that checksum.
        licence: of the content.
        credit: who made it.
    """

    name: str
    packages: list[str]
    version: str
    sha256: str
    known: bool
    licence: str
    credit: str

    def write(self, folder: Path) -> None:
        """Write it into the set's folder."""
        with writing(folder / FILE) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def place_of(name: str) -> Path:
    """Return the folder of a set, which exists once it is fetched."""
    return cache_folder() / "fetched" / name


def present(name: str) -> Record | None:
    """Return what is noted of a fetched set; ``None`` if it has not been fetched.

    Raises:
        InputError: no such set is known.
    """
    path = place_of(entry(name).name) / FILE
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # no file, or one that nobody but a broken disk has written
        return None


def folder(name: str, setting: str = "folder") -> Path:
    """Return where a fetched set lies, without checking its content.

    Args:
        name: of the set.
        setting: what takes a folder instead, such as ``TuxPaint.folder``, for the message.

    Raises:
        InputError: no such set is known, or it has not been fetched.
    """
    if present(name) is None:
        raise InputError(
            f"{setting}: the set {name!r} has not been fetched: run `kdmm fetch {name}`, or give "
            f"`{setting.rpartition('.')[2]}`, a folder that holds it."
        )
    return place_of(name)
