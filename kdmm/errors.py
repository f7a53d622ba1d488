"""Errors that a user can mend: each names the setting, its value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["FullDiskError", "InputError", "InterruptedRunError", "NonFiniteLossError", "nearest"]


class InputError(ValueError):
    """The user's input is wrong. The command line prints the message alone and exits with status 2."""


class NonFiniteLossError(RuntimeError):
    """A term of the objective became NaN or infinite. Exit status 1."""


class FullDiskError(RuntimeError):
    """A file could not be written because the disk is full. Exit status 1."""


class InterruptedRunError(RuntimeError):
    """The run was asked to stop (SIGINT, SIGTERM) and has saved its state. Exit status 130."""


def nearest(name: str, accepted: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the accepted name closest to ``name``, or an empty string."""
    found = difflib.get_close_matches(name, list(accepted), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""
