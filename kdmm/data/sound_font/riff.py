"""The chunks and tables of a SoundFont 2 file, as its specification lays them out.

SoundFont Technical Specification 2.04 (E-mu Systems / Creative Technology, 2006), sections 4 to 7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdmm.data.files import hash_bytes, open_file, state_of
from kdmm.errors import InputError

__all__ = ["FontFile", "read_font_file"]

BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
GENERATOR = np.dtype([("operator", "<u2"), ("amount", "<i2")])
RECORDS = {
    "phdr": np.dtype([("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("unused", "<u4", 3)]),
    "pbag": BAG,
    "pgen": GENERATOR,
    "inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    "ibag": BAG,
    "igen": GENERATOR,
    "shdr": np.dtype(
        [
            ("name", "S20"),
            ("start", "<u4"),
            ("end", "<u4"),
            ("loop_start", "<u4"),
            ("loop_end", "<u4"),
            ("rate", "<u4"),
            ("key", "u1"),
            ("correction", "i1"),
            ("link", "<u2"),
            ("kind", "<u2"),
        ]
    ),
}
"""The tables that are read. Modulators are not: a note is played by its key and velocity alone."""

REFERS = (
    ("phdr", "bag", "pbag"),
    ("pbag", "generator", "pgen"),
    ("inst", "bag", "ibag"),
    ("ibag", "generator", "igen"),
)
"""Fields that number the first of an item's rows in another table; the next item's number ends them."""

VERSION = 2
IN_ROM = 0x8000  # of a recording's kind: its points are in a synthesizer, not in the file


@dataclass(frozen=True, eq=False)
class FontFile:
    """A sound font's tables and recorded points.

    Args:
        points: of all recordings, one after the other, mono, full scale is 2**15.
        tables: by the names of their chunks; the last row of each only ends the one before.
        digest: a hash of the whole file.
    """

    points: NDArray[np.int16]
    tables: Mapping[str, NDArray[Any]]
    digest: str


def read_font_file(path: str) -> FontFile:
    """Read a file, once a process while it does not change.

    Raises:
        InputError: it cannot be read, or is no whole sound font; the message says why, without the path.
    """
    return _read(path, state_of(path, None))


@lru_cache(maxsize=4)
def _read(path: str, state: str) -> FontFile:
    with open_file(path, None) as file:
        data = file.read()
    chunks = _chunks(data)
    if "ifil" in chunks and (major := int.from_bytes(chunks["ifil"][:2], "little")) != VERSION:
        raise InputError(f"this is a sound font of version {major}; version {VERSION} (.sf2) is needed")
    missing = [name for name in ("smpl", *RECORDS) if name not in chunks]
    if missing:
        raise InputError(f"this sound font has no chunk {missing[0]!r}")
    points = np.frombuffer(chunks["smpl"], "<i2", len(chunks["smpl"]) // 2)
    tables = {name: _table(name, chunks[name]) for name in RECORDS}
    _check_references(tables)
    _check_recordings(tables["shdr"][:-1], len(points))
    return FontFile(points, tables, hash_bytes(data))


def _chunks(data: bytes) -> dict[str, memoryview]:
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise InputError(f"this is no sound font: it begins with {data[:12]!r}, not with RIFF....sfbk")
    size = struct.unpack_from("<I", data, 4)[0] + 8
    if size > len(data):
        raise InputError(f"this sound font is cut off: {size} bytes were written, and {len(data)} are left")
    found: dict[str, memoryview] = {}
    for name, content in _inside(memoryview(data)[12:size]):
        if name == "LIST":
            found.update(_inside(content[4:]))
    return found


def _inside(data: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Yield the name and content of each chunk of a list."""
    place = 0
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        text = name.decode("latin-1")
        place += 8
        if place + size > len(data):
            raise InputError(f"this sound font is broken: its chunk {text!r} is longer than what it is in")
        yield text, data[place : place + size]
        place += size + size % 2  # chunks begin at even bytes


def _table(name: str, content: memoryview) -> NDArray[Any]:
    row = RECORDS[name].itemsize
    if not len(content) or len(content) % row:
        raise InputError(f"this sound font is broken: its chunk {name!r} has {len(content)} bytes, not rows of {row}")
    return np.frombuffer(content, RECORDS[name])


def _check_references(tables: Mapping[str, NDArray[Any]]) -> None:
    for name, field, other in REFERS:
        first = tables[name][field].astype(int)
        if (np.diff(first) < 0).any() or first[-1] >= len(tables[other]):
            raise InputError(f"this sound font is broken: a row of {name!r} points outside {other!r}")


def _check_recordings(recordings: NDArray[Any], points: int) -> None:
    for number, each in enumerate(recordings):
        name = each["name"].decode("latin-1")
        if each["kind"] & IN_ROM:
            raise InputError(f"the recording {number} ({name!r}) is in a synthesizer's memory, not in this sound font")
        if not each["start"] <= each["end"] <= points or not each["rate"]:
            raise InputError(
                f"this sound font is broken: the recording {number} ({name!r}) is points {each['start']} to "
                f"{each['end']} of {points}, at {each['rate']} Hz"
            )
