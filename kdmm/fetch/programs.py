"""Finding and running programs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["find", "run"]

LAST_LINES = 5  # of what a program says before it fails


def find(program: str) -> str | None:
    """Return where a program is: on ``PATH``, or beside the running Python; ``None`` if it is not installed."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), str(Path(sys.executable).parent)]
    path = os.pathsep.join(place for place in places if place)  # an empty one would stand for the current folder
    return shutil.which(program, path=path)


def run(command: Sequence[str], folder: Path | None = None) -> tuple[str, str]:
    """Run a program in a folder; return what it printed, and why it failed if it did.

    Raises:
        OSError: the disk is full.
    """
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False
    )
    if not done.returncode:
        return done.stdout, ""
    said = done.stderr or done.stdout
    if os.strerror(errno.ENOSPC) in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return done.stdout, "; ".join(lines[-LAST_LINES:]) or f"exit status {done.returncode}"
