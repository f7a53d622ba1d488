"""A small set for each client, and programs in the place of the clients, which deliver archives made on the spot."""

import hashlib
import io
import os
import tarfile
import zipfile
from dataclasses import replace

from kdmm.fetch import CATALOGUE, Fetchable

FILES = {"b.txt": b"second\n", "deep/a.bin": bytes(range(256)), "é.txt": b"", "B.txt": b"first\n"}
ROOTS = {"apt": "usr/share/toy", "npm": "package/data", "pip": "toy"}
PACKAGES = {"apt": "toy-data", "npm": "@toys/toy", "pip": "toy"}

# Each notes in $TOYS/log how it is called, and fails with what $TOY_FAILS says. $TOY_HALTS names the program that stops
# half way, writes $TOYS/halted and waits to be killed.
CLIENT = """#!/bin/sh
echo "{name} $*" >> "$TOYS/log"
if [ -n "$TOY_FAILS" ]; then echo "W: a warning" >&2; echo "$TOY_FAILS" >&2; exit 100; fi
if [ "$TOY_HALTS" = {name} ]; then
  head -c 300 "$TOYS/store/{wanted}" > {delivered}; touch "$TOYS/halted"; exec sleep 60
fi
sleep "${{TOY_SLEEPS:-0}}"
cp "$TOYS/store/{wanted}" {delivered}
"""
DPKG_DEB = """#!/bin/sh
if [ "$1" = -f ]; then exec tar -xOf "$2" VERSION; fi
tar -xf "$2" -C "$3" || exit 2
rm "$3/VERSION"
if [ "$TOY_HALTS" = dpkg-deb ]; then rm -r "$3/usr/share/toy/deep"; touch "$TOYS/halted"; exec sleep 60; fi
"""
DELIVERED = {  # by client: what lies in the store, and what it is called where it is delivered
    "apt-get": ("$2.deb", '"$2_1_all.deb"'),
    "npm": ("npm.tgz", "toys-toy-1.0.tgz"),
    "pip": ("pip.whl", '"toy-$(cat $TOYS/store/pip.version)-py3-none-any.whl"'),
}


def expected_checksum(files):
    """Return what the checksum of these files is by its definition."""
    lines = [hashlib.sha256(files[name]).hexdigest().encode() + b"  " + name.encode() for name in files]
    return hashlib.sha256(b"".join(line + b"\n" for line in sorted(lines, key=lambda line: line[66:]))).hexdigest()


def toy(client="apt", **changes):
    """Return the catalogue's entry."""
    entry = Fetchable(
        name="toy",
        client=client,
        packages=(PACKAGES[client],),
        content=ROOTS[client],
        versions={"1.0": expected_checksum(FILES)},
        licence="MIT-0",
        credit="the toymakers",
        holds="four small files",
        download_mb=1,
        disk_mb=1,
    )
    return replace(entry, **changes)


class Toys:
    """The programs, and what they deliver."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.monkeypatch = monkeypatch
        (folder / "store").mkdir(parents=True)
        (folder / "bin").mkdir()
        for name, (wanted, delivered) in DELIVERED.items():
            self._write_program(name, CLIENT.format(name=name, wanted=wanted, delivered=delivered))
        self._write_program("dpkg-deb", DPKG_DEB)
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)
        for client in ROOTS:
            self.stock(client)

    def environment(self, **more):
        path = os.pathsep.join([str(self.folder / "bin"), os.defpath])
        return {"PATH": path, "TOYS": str(self.folder), "KDMM_CACHE": str(self.cache), **more}

    @property
    def cache(self):
        return self.folder.parent / "cache"

    @property
    def place(self):
        return self.cache / "fetched" / "toy"

    def offer(self, client="apt", **changes):
        """Put the set of a client into the catalogue and return it."""
        entry = toy(client, **changes)
        self.monkeypatch.setitem(CATALOGUE, "toy", entry)
        return entry

    def stock(self, client, files=FILES, version="1.0", package="toy-data", root=None):
        """Make the archive that a client delivers."""
        store = self.folder / "store"
        members = {f"{root or ROOTS[client]}/{name}": data for name, data in files.items()}
        if client == "pip":
            (store / "pip.version").write_text(version)
            with zipfile.ZipFile(store / "pip.whl", "w") as wheel:
                for name, data in members.items():
                    wheel.writestr(name, data)
            return
        if client == "npm":
            members["package/package.json"] = f'{{"version": "{version}"}}'.encode()
        else:
            members["VERSION"] = version.encode()
        with tarfile.open(store / ("npm.tgz" if client == "npm" else f"{package}.deb"), "w:gz") as tar:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))

    def spoil(self, client, data=b"this is no archive"):
        """Make the archive that a client delivers unreadable."""
        name = {"apt": "toy-data.deb", "npm": "npm.tgz", "pip": "pip.whl"}[client]
        (self.folder / "store" / name).write_bytes(data)

    def calls(self):
        """Return how the clients were called."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def left_over(self):
        """Return what lies in the cache beside the set and the locks."""
        found = [path.relative_to(self.cache).as_posix() for path in self.cache.rglob("*")]
        return sorted(name for name in found if not name.startswith(("fetched/toy/", "locks")))

    def _write_program(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
