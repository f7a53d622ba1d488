"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["writing"]


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; the file takes its place on leaving, or is deleted after an error."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
