"""Fetching a set: download, unpack, check, put in place.

What lies at a set's place is whole: it is unpacked and checked beside it, and then renamed. A lock, which the operating
system frees when its process ends, however it ends, keeps two calls apart.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from kdmm.errors import InputError
from kdmm.fetch.cache import cache_folder
from kdmm.fetch.catalogue import Fetchable, entry
from kdmm.fetch.clients import CLIENTS, BrokenArchiveError, find_programs
from kdmm.fetch.content import checksum
from kdmm.fetch.disk import OWN_FOLDER, appearing, check_room, clear_disk_errors
from kdmm.fetch.downloads import downloaded, downloads_of
from kdmm.fetch.store import Record, place_of, present

__all__ = ["fetch"]


def print_on_stderr(line: str) -> None:
    """Print a line on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


def fetch(name: str, any_version: bool = False, say: Callable[[str], None] = print_on_stderr) -> Path:
    """Fetch a set, or check it if it is there; return the folder where it lies.

    Args:
        name: of the set, one of ``CATALOGUE``.
        any_version: takes a version that the catalogue does not know, whose content cannot be checked.
        say: is given lines on the licence, the credit and what is going on.

    Raises:
        InputError: no such set is known; its client is missing or fails; another version or other content was
            delivered; the disk is full or the cache cannot be written. The message says what to do.
    """
    wanted = entry(name)
    with clear_disk_errors(wanted):
        locks = cache_folder() / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            say(f"{name}: another process is fetching it; waiting for that")
            lock.acquire()
        try:
            return _fetch(wanted, any_version, say)
        finally:
            lock.release()


def _fetch(wanted: Fetchable, any_version: bool, say: Callable[[str], None]) -> Path:
    place = place_of(wanted.name)
    if place.exists():
        trouble = _trouble(wanted, place)
        if not trouble:
            say(f"{wanted.name}: it is there, and its files are as they were fetched")
            return place
        say(f"{wanted.name}: {trouble}, so it is fetched again")
    say(f"{wanted.name}: {wanted.holds}")
    say(f"licence: {wanted.licence}")
    say(f"credit: {wanted.credit}")
    try:
        find_programs(CLIENTS[wanted.client])
    except InputError as error:
        raise InputError(f"{wanted.name}: {error} {OWN_FOLDER}") from error
    downloads = downloads_of(wanted)
    check_room(wanted, downloads)
    archives = [downloaded(wanted, package, any_version, say) for package in wanted.packages]
    try:
        with appearing(place) as fresh:
            say(f"{wanted.name}: unpacking and checking")
            record = _unpack(wanted, archives, fresh)
            _refuse(wanted, record, any_version)
            record.write(fresh)
    except BrokenArchiveError as error:
        shutil.rmtree(downloads, ignore_errors=True)
        raise InputError(f"{wanted.name}: the download is damaged and was deleted; try again. {error}.") from error
    except InputError:  # refused, and the next call may be delivered something else
        shutil.rmtree(downloads, ignore_errors=True)
        raise
    shutil.rmtree(downloads, ignore_errors=True)
    return place


def _trouble(wanted: Fetchable, place: Path) -> str:
    """Return why a set that is there must be fetched again, or an empty string."""
    record = present(wanted.name)
    if record is None:
        return "its folder has no readable record"
    if record.known and record.sha256 not in wanted.versions.values():
        return f"it is version {record.version}, which this kdmm does not know"
    if checksum(place / wanted.content) != record.sha256:
        return "its files were changed, or some are missing"
    return ""


def _unpack(wanted: Fetchable, archives: Sequence[Path], folder: Path) -> Record:
    """Unpack all archives into one folder and return what is to be noted of it."""
    client = CLIENTS[wanted.client]
    versions = dict.fromkeys(client.version(archive) for archive in archives)
    for archive in archives:
        client.unpack(archive, folder)
    content = folder / wanted.content
    if not content.is_dir():
        raise BrokenArchiveError(f"Version {', '.join(versions)} holds no folder {wanted.content}")
    found = checksum(content)
    return Record(
        name=wanted.name,
        packages=list(wanted.packages),
        version=", ".join(versions),
        sha256=found,
        known=found in wanted.versions.values(),
        licence=wanted.licence,
        credit=wanted.credit,
    )


def _refuse(wanted: Fetchable, record: Record, any_version: bool) -> None:
    """Refuse content that the catalogue does not know, unless the version is another and that is allowed."""
    if record.known:
        return
    if record.version in wanted.versions:
        raise InputError(
            f"{wanted.name}: the content of version {record.version} is not what it should be (checksum "
            f"{record.sha256[:16]}... instead of {wanted.versions[record.version][:16]}...): it was damaged or changed "
            "on its way. It was deleted; try again, or ask who runs the mirror that the client uses."
        )
    if not any_version:
        raise InputError(
            f"{wanted.name}: {wanted.client} delivered version {record.version}; known is "
            f"{' or '.join(wanted.versions)}, which results are of. `kdmm fetch {wanted.name} --any-version` takes it, "
            f"unchecked. {OWN_FOLDER}"
        )
