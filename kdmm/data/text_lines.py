"""The lines of a text file."""

from __future__ import annotations

from pathlib import Path

from kdmm.data.tables import existing_file
from kdmm.errors import InputError

__all__ = ["read_lines"]


def read_lines(path: Path, setting: str) -> list[str]:
    """Return the lines of a text in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        setting: what it is set by, for messages.

    Raises:
        InputError: there is no such file, or it is empty, cannot be read or is not UTF-8.
    """
    try:
        return existing_file(path, setting).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 ({error.reason} at byte {error.start}). Save it in UTF-8."
        raise InputError(f"{setting}: {path} {reason}") from error
    except OSError as error:
        raise InputError(f"{setting}: {path} cannot be read: {error}.") from error
