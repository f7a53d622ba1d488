"""One thing that is wrong in a config, and one message for several."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kdmm.errors import InputError

__all__ = ["Problem", "at", "closest", "together"]

LISTED = 12  # names in a message; of more, those that resemble the wrong one


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
        end = "" if self.found.endswith((".", "?")) else "."  # an error's message has one
        return f"{where}{self.found}{accepted}{end}{self.nearest}"


def at(path: str, key: object) -> str:
    """Return the path of ``key`` inside ``path``."""
    return f"{path}.{key}" if path else str(key)


def closest(name: str, accepted: Iterable[str]) -> str:
    """Return the accepted names as a list in words; of many, only those that resemble ``name`` most."""
    names = list(accepted)
    if len(names) <= LISTED:
        return ", ".join(names)
    near = difflib.get_close_matches(name, names, n=LISTED // 2, cutoff=0)
    return f"{', '.join(near)} and {len(names) - len(near)} more"


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
