"""The captions of a sample, as every source that reads them from a file gives them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["distinct"]


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the texts without space around them, each once, in their order; blank ones are left out."""
    stripped = (text.strip() for text in texts)
    return tuple(dict.fromkeys(text for text in stripped if text))
