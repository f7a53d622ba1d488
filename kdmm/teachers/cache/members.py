"""Which running teachers stand behind a teacher, and how several are one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdmm.errors import InputError
from kdmm.teachers.ensemble import Ensemble
from kdmm.teachers.moving_average import MovingAverage
from kdmm.teachers.teacher import Running, Teacher

__all__ = ["joined", "members_of", "recipe_of"]

ALONE = "teacher"
"""The name in a batch of a teacher that is not one of several."""


def members_of(teacher: Teacher) -> dict[str, Running]:
    """Return the running teachers of one or of an ensemble, by their names in a batch.

    Raises:
        InputError: one of them has no answer that could be kept: it changes while it teaches, or it does not run.
    """
    online = teacher.online()
    each = online.each() if isinstance(online, Ensemble) else {ALONE: online}
    found: dict[str, Running] = {}
    for name, member in each.items():
        if not isinstance(member, Running) or isinstance(member, MovingAverage):
            raise InputError(
                f"{name}: the answers of {type(member).__name__} cannot be kept: they change in training, or it is "
                "itself read from a store. Give kdmm.teachers.FromRun or Frozen."
            )
        found[name] = member
    return found


def recipe_of(teacher: Teacher) -> dict[str, Any]:
    """Return how several teachers are one; nothing of a single one."""
    online = teacher.online()
    return online.recipe if isinstance(online, Ensemble) else {}


def joined(members: Mapping[str, Teacher], recipe: Mapping[str, Any]) -> Teacher:
    """Return a single teacher, or the ensemble of several.

    Args:
        members: by their names in a batch.
        recipe: how several are one.
    """
    return Ensemble(dict(members), **recipe) if recipe else members[ALONE]
