"""What the outputs of an ensemble's teachers are called."""

from __future__ import annotations

from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.outputs import Outputs

__all__ = ["of_teacher", "within"]

FLAGS = ("present/", "valid/", "keys/")


def within(teacher: str, name: str) -> str:
    """Return what a teacher's output is called in an ensemble: ``a/image``, ``present/a/image``."""
    flag = next((flag for flag in FLAGS if name.startswith(flag)), "")
    return f"{flag}{teacher}/{name.removeprefix(flag)}"


def of_teacher(outputs: Outputs, teacher: str) -> dict[str, Tensor]:
    """Return what one teacher of an ensemble says, by its own names.

    Raises:
        InputError: there is no such teacher.
    """
    inside = within(teacher, "")
    found = {}
    for name, x in outputs.items():
        flag = next((flag for flag in FLAGS if name.startswith(flag)), "")
        if name.removeprefix(flag).startswith(inside):
            found[flag + name.removeprefix(flag).removeprefix(inside)] = x
    if not found:
        known = sorted({name.partition("/")[0] for name in outputs if "/" in name and not name.startswith(FLAGS)})
        raise InputError(
            f"No teacher is called {teacher!r}. Teachers of the ensemble: {', '.join(known) or 'there is no ensemble'}."
            + nearest(teacher, known)
        )
    return found
