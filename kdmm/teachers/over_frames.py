"""A teacher of pictures that teaches about clips."""

from __future__ import annotations

from kdmm.models.over_frames import OverFrames
from kdmm.teachers.teacher import Frozen

__all__ = ["SeenOverFrames"]


def SeenOverFrames(teacher: Frozen, frames: int) -> Frozen:  # noqa: N802  a teacher to its users, who write it in YAML
    """Let a teacher of pictures and captions look at the frames of clips, see :class:`kdmm.models.OverFrames`.

    Args:
        teacher: that gives ``image``, such as ``FromRun``.
        frames: how many of a clip it sees.

    Raises:
        InputError: it reads no pictures.
    """
    return Frozen(OverFrames(teacher.model, frames), precision=teacher.precision, size=teacher.size)
