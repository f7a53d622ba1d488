"""Reading the dialogues of Fish Fillets NG: the two calls that their Lua files are made of. Nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kdmm.errors import InputError

__all__ = ["read_dialogs"]

TOKEN = re.compile(
    r"""
    (?P<space> \s+ | --\[\[.*?\]\] | --[^\n]* )
    | (?P<text> "(?:[^"\\\n]|\\.)*" )
    | (?P<name> [A-Za-z_]\w* )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
ESCAPE = re.compile(r"\\(\d{1,3}|.)", re.DOTALL)
LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
CALLS = {"dialogId": 3, "dialogStr": 1}
"""The calls that are read, with how many texts each takes."""


def read_dialogs(path: Path, original: bool) -> dict[str, str]:
    """Return the lines of a file by their ids; of an id that comes again, the last line, as the game has it.

    ``dialogId(id, font, original)`` names the line that follows and says it in English; ``dialogStr(line)`` says the
    last named one in the file's language. Calls with anything but texts, and all other Lua, are passed over.

    Args:
        path: a ``dialogs_<language>.lua``.
        original: whether the lines of ``dialogId`` are wanted, as in the English files, which have no others.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or a text in it does not end.
    """
    try:
        content = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    lines: dict[str, str] = {}
    last: str | None = None
    for name, texts in _calls(content, path):
        if name == "dialogId":
            last = texts[0]
            if original:
                lines[last] = texts[2]
        elif last is not None and not original:
            lines[last] = texts[0]
    return lines


def _calls(content: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the calls with as many texts as they take, and nothing else, between their brackets."""
    tokens = list(_tokens(content, path))
    for start, (kind, name) in enumerate(tokens):
        count = CALLS.get(name, 0) if kind == "name" else 0
        if not count:
            continue
        wanted = ["("] + [part for n in range(count) for part in ("text", "," if n < count - 1 else ")")]
        found = tokens[start + 1 : start + 1 + len(wanted)]
        if [kind if kind == "text" else value for kind, value in found] == wanted:
            yield name, [value for kind, value in found if kind == "text"]


def _tokens(content: str, path: Path) -> Iterator[tuple[str, str]]:
    for match in TOKEN.finditer(content):
        kind, value = str(match.lastgroup), match.group()
        if kind == "other" and value == '"':
            line = content.count("\n", 0, match.start()) + 1
            raise InputError(f"{path}, line {line}: a text begins that does not end on its line. Mend the file.")
        if kind == "text":
            yield kind, ESCAPE.sub(_unescaped, value[1:-1])
        elif kind != "space":
            yield kind, value


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    return chr(int(code)) if code.isdigit() else LETTERS.get(code, code)
