"""One thing that is wrong in a config, and one message for several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdmm.errors import InputError

__all__ = ["Problem", "at", "together"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a config.

    Args:
        path: where, ``module.objective.terms.hard.pair``; empty for the whole tree.
        found: what is there.
        accepted: what may be there.
        nearest: ``" Did you mean 'x'?"`` or empty (see `kdmm.errors.nearest`).
    """

    path: str
    found: str
    accepted: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        accepted = f"; accepted: {self.accepted}" if self.accepted else ""
        return f"{where}{self.found}{accepted}.{self.nearest}"


def at(path: str, key: object) -> str:
    """Return the path of ``key`` inside ``path``."""
    return f"{path}.{key}" if path else str(key)


def together(problems: Sequence[Problem], source: str = "") -> InputError:
    """Return one error that lists all problems, a line each.

    Args:
        problems: at least one.
        source: the file that they are in, if any.
    """
    where = f"{source}: " if source else ""
    if len(problems) == 1:
        return InputError(f"{where}{problems[0]}")
    return InputError(f"{where}{len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems))
