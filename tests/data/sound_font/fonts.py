"""Small sound fonts, written when a test needs them, and the real one that is installed."""

import importlib.util
import struct
from dataclasses import dataclass

import numpy as np
import pytest

from kdmm.models.files import locate

PACKAGED = "package:pretty_midi/TimGM6mb.sf2"
RATE = 16_000

installed = pytest.mark.skipif(
    importlib.util.find_spec("pretty_midi") is None, reason="the sound font of pretty_midi is not installed"
)


def real_font():
    return str(locate(PACKAGED))


@dataclass(frozen=True)
class Recorded:
    """A row of shdr."""

    start: int
    end: int
    loop: tuple[int, int] = (0, 0)
    rate: int = RATE
    key: int = 60
    correction: int = 0
    kind: int = 1
    name: str = "tone"


def keys(low, high):
    return (43, high << 8 | low)


def velocities(low, high):
    return (44, high << 8 | low)


def chunk(name, content):
    return struct.pack("<4sI", name.encode(), len(content)) + content + b"\0" * (len(content) % 2)


def listed(name, *chunks):
    return chunk("LIST", name.encode() + b"".join(chunks))


def zones(items, last):
    """Return rows of item numbers, bags and generators; a zone is a list of (generator, amount)."""
    firsts, bags, generators = [], [], []
    for zones_of_item in items:
        firsts.append(len(bags))
        for zone in zones_of_item:
            bags.append(len(generators))
            generators += sorted(zone, key=lambda pair: {43: 0, 44: 1, last: 3}.get(pair[0], 2))
    firsts.append(len(bags))
    bags.append(len(generators))
    generators.append((0, 0))
    return (
        firsts,
        b"".join(struct.pack("<HH", bag, 0) for bag in bags),
        b"".join(struct.pack("<HH", operator, amount & 0xFFFF) for operator, amount in generators),
    )


def parts(points, recordings, instruments, presets):
    """Return the chunks of a sound font by name.

    ``presets`` are (name, bank, program, zones). An instrument is a list of zones.
    """
    names = [(name, bank, program) for name, bank, program, _ in presets]
    firsts, pbag, pgen = zones([each[3] for each in presets], 41)
    inst_firsts, ibag, igen = zones(instruments, 53)
    rows = zip([*names, ("EOP", 0, 0)], firsts, strict=True)
    return {
        "ifil": struct.pack("<HH", 2, 4),
        "smpl": np.asarray(points, "<i2").tobytes(),
        "phdr": b"".join(struct.pack("<20sHHHIII", n.encode(), p, b, first, 0, 0, 0) for (n, b, p), first in rows),
        "pbag": pbag,
        "pgen": pgen,
        "inst": b"".join(struct.pack("<20sH", b"instrument", first) for first in inst_firsts),
        "ibag": ibag,
        "igen": igen,
        "shdr": b"".join(
            struct.pack(
                "<20sIIIIIBbHH", r.name.encode(), r.start, r.end, *r.loop, r.rate, r.key, r.correction, 0, r.kind
            )
            for r in [*recordings, Recorded(0, 0, rate=0, kind=0, name="EOS")]
        ),
    }


def assembled(chunks):
    info = [chunk(name, content) for name, content in chunks.items() if name == "ifil"]
    data = [chunk(name, content) for name, content in chunks.items() if name == "smpl"]
    tables = [chunk(name, content) for name, content in chunks.items() if name not in ("ifil", "smpl")]
    return chunk("RIFF", b"sfbk" + listed("INFO", *info) + listed("sdta", *data) + listed("pdta", *tables))


def write_font(path, points, recordings, instruments, presets):
    path.write_bytes(assembled(parts(points, recordings, instruments, presets)))
    return str(path)


def one_tone(path, points, recording, zone=()):
    """Write a font whose only preset, 0:0, plays one recording on all keys."""
    instrument = [[*zone, (53, 0)]]
    return write_font(path, points, [recording], [instrument], [("preset", 0, 0, [[(41, 0)]])])


def tone(hz, seconds, rate=RATE, level=0.5):
    """Return whole numbers of a sine, to be recorded."""
    return np.round(32767 * level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype("<i2")
