"""Tux Paint's own layout: which files lie beside a stamp's picture, and what its text says."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kdmm.data.tux_paint_concepts import mirrored
from kdmm.errors import InputError

__all__ = ["ENGLISH", "Stamp", "read_stamps"]

ENGLISH = "en"
PICTURES = (".svg", ".png")  # of a stamp that has both, the last is taken
SOUNDS = (".ogg", ".wav")
TRANSLATION = re.compile(r"([A-Za-z_]+(?:@[a-z]+)?)\.utf8=(.*)")
DESCRIPTION = re.compile(r"(.+)_desc(?:_([A-Za-z_]+))?")
UNCATEGORIZED = "uncategorized"


@dataclass(frozen=True)
class Stamp:
    """One picture and what lies beside it.

    Args:
        name: its path below the root, without ending.
        picture: its file, PNG or SVG.
        texts: its name by language.
        effect: the file with what the thing sounds like, if any.
        said: the files with its name spoken aloud, by language.
    """

    name: str
    picture: Path
    texts: Mapping[str, str]
    effect: Path | None
    said: Mapping[str, Path]

    @property
    def is_svg(self) -> bool:
        """Whether it must be drawn."""
        return self.picture.suffix == ".svg"

    @property
    def category(self) -> str:
        """The top folder."""
        top, _, below = self.name.partition("/")
        return top if below else UNCATEGORIZED


def read_stamps(root: Path) -> tuple[Stamp, ...]:
    """Return all stamps below a folder in the order of their names.

    ``<name>.txt`` has the English name in its first line and then lines ``<language>.utf8=<name>``; ``<name>.ogg`` is
    the sound; ``<name>_desc_<language>.ogg`` the name spoken aloud, in English without a language. A mirrored picture
    ``<name>_mirror.png`` has the texts and sounds of ``<name>`` if it has none of its own.

    Raises:
        InputError: a text is empty, is no UTF-8, or has a line of another form.
    """
    by_ending: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(root.rglob("*")):
        if not path.name.startswith("."):  # such as those that macOS leaves behind
            by_ending[path.suffix][path.relative_to(root).with_suffix("").as_posix()] = path
    pictures = {name: path for ending in PICTURES for name, path in by_ending[ending].items()}
    texts = {name: _read_text(path) for name, path in by_ending[".txt"].items() if name in pictures}
    effects: dict[str, Path] = {}
    said: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for name, path in (each for ending in SOUNDS for each in by_ending[ending].items()):
        description = DESCRIPTION.fullmatch(name)
        if description:
            said[description[1]][description[2] or ENGLISH] = path
        else:
            effects[name] = path
    stamps = []
    for name, picture in sorted(pictures.items()):
        original = mirrored(name)
        stamps.append(
            Stamp(
                name=name,
                picture=picture,
                texts=texts.get(name) or texts.get(original, {}),
                effect=effects.get(name) or effects.get(original),
                said=said.get(name) or said.get(original, {}),
            )
        )
    return tuple(stamps)


def _read_text(path: Path) -> dict[str, str]:
    """Return the names by language, English first."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no UTF-8 text ({error.reason} at byte {error.start}). Mend or remove it."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not lines or not lines[0].strip():
        raise InputError(f"{path}: the first line, the English name, is empty. Fill or remove it.")
    texts = {ENGLISH: lines[0].strip()}
    for number, line in enumerate(lines[1:], start=2):
        found = TRANSLATION.fullmatch(line)
        if found:
            texts[found[1]] = found[2].strip()
        elif line.strip():
            raise InputError(f"{path}, line {number}: {line[:40]!r} is not of the form <language>.utf8=<name>.")
    return texts
