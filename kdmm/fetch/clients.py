"""The clients of package managers: how each downloads an archive, and how it is unpacked."""

from __future__ import annotations

import gzip
import json
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdmm.errors import InputError
from kdmm.fetch.programs import find, run

__all__ = ["CLIENTS", "BrokenArchiveError", "Client", "find_programs"]

BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, LookupError, ValueError)


class BrokenArchiveError(Exception):
    """An archive cannot be unpacked."""


class Client(ABC):
    """A client, which downloads one package to the current folder."""

    name: str
    programs: tuple[str, ...]
    """Which must be installed; the first one downloads."""

    help: str
    """What to try when it fails or is missing."""

    @abstractmethod
    def words(self, package: str, version: str | None) -> list[str]:
        """Return what follows the program's name to download a package.

        Args:
            package: its name.
            version: which one; ``None`` takes what the client has.
        """

    @abstractmethod
    def version(self, archive: Path) -> str:
        """Return which version of the package an archive is."""

    @abstractmethod
    def unpack(self, archive: Path, folder: Path) -> None:
        """Unpack an archive into a folder that exists.

        Raises:
            BrokenArchiveError: it cannot be unpacked.
        """

    def download(self, package: str, version: str | None, folder: Path) -> Path:
        """Download a package into an empty folder.

        Raises:
            InputError: the client fails; the message holds what it says.
        """
        words = self.words(package, version)
        _, failure = run([find_programs(self)[self.programs[0]], *words], folder)
        found = [path for path in folder.iterdir() if path.is_file()]
        if len(found) == 1 and not failure:
            return found[0]
        reason = failure or f"it left {len(found)} files instead of one"
        raise InputError(f"`{' '.join([self.programs[0], *words])}` failed: {reason}\nIs there a network? {self.help}")


class Apt(Client):
    """Debian's and Ubuntu's. Downloading and unpacking need no root."""

    name = "apt"
    programs = ("apt-get", "dpkg-deb")
    help = (
        "If apt-get does not find the package, `sudo apt-get update` gets its lists; it comes with Debian and Ubuntu."
    )

    def words(self, package: str, version: str | None) -> list[str]:
        """Download what the distribution has: it has one version alone."""
        return ["download", package]

    def version(self, archive: Path) -> str:
        """Read the package's control file."""
        return _output(self, ["-f", str(archive), "Version"])

    def unpack(self, archive: Path, folder: Path) -> None:
        """Leave it to dpkg-deb."""
        _output(self, ["-x", str(archive), str(folder)])


class Npm(Client):
    """Node's."""

    name = "npm"
    programs = ("npm",)
    help = "npm comes with Node.js."

    def words(self, package: str, version: str | None) -> list[str]:
        """Pack runs no script of a package that it downloads; the option makes sure."""
        return ["pack", "--ignore-scripts", package if version is None else f"{package}@{version}"]

    def version(self, archive: Path) -> str:
        """Read ``package.json``."""
        with _reading(archive), tarfile.open(archive) as tar:
            return str(json.loads(_read(tar.extractfile("package/package.json")))["version"])

    def unpack(self, archive: Path, folder: Path) -> None:
        """Unpack a tar, no file of which can get outside the folder."""
        with _reading(archive), tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")


class Pip(Client):
    """Python's."""

    name = "pip"
    programs = ("pip",)
    help = "pip comes with Python; `python -m ensurepip` installs it."

    def words(self, package: str, version: str | None) -> list[str]:
        """Take wheels alone: to download anything else, pip runs the package's own code."""
        wanted = package if version is None else f"{package}=={version}"
        return ["download", "--no-deps", "--only-binary", ":all:", "--dest", ".", wanted]

    def version(self, archive: Path) -> str:
        """Read the wheel's name, ``<package>-<version>-...``."""
        return archive.name.split("-")[1]

    def unpack(self, archive: Path, folder: Path) -> None:
        """Unpack a ZIP, no file of which can get outside the folder."""
        with _reading(archive), zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)


CLIENTS: dict[str, Client] = {client.name: client for client in (Apt(), Npm(), Pip())}


def find_programs(client: Client) -> dict[str, str]:
    """Return where each program of a client is.

    Raises:
        InputError: one is not installed.
    """
    found = {program: find(program) for program in client.programs}
    missing = [program for program, where in found.items() if where is None]
    if missing:
        raise InputError(f"`{missing[0]}` is not installed. {client.help}")
    return {program: where for program, where in found.items() if where is not None}


def _output(client: Client, words: Sequence[str]) -> str:
    """Run the program that reads archives and return what it prints."""
    program = client.programs[-1]
    printed, failure = run([find_programs(client)[program], *words])
    if failure:
        raise BrokenArchiveError(f"`{program}`: {failure}")
    return printed.strip()


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn what goes wrong in reading an archive into a `BrokenArchiveError`."""
    try:
        yield
    except BROKEN as error:
        raise BrokenArchiveError(f"{archive.name}: {error or type(error).__name__}") from error


def _read(file: Any) -> bytes:
    with file:
        data: bytes = file.read()
    return data
