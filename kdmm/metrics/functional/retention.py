"""How much of the teacher's quality a student keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

__all__ = ["higher_is_better", "retention"]


def higher_is_better(metric: str) -> bool:
    """Return whether a metric, by its name in the logs, is a quality: a recall or an accuracy, of one class too."""
    return "/class/" in metric or metric.rsplit("/", 1)[-1].startswith(("recall@", "top", "mean_per_class"))


def retention(student: Mapping[str, float | Tensor], teacher: Mapping[str, float | Tensor]) -> dict[str, float]:
    """Return ``retention/<metric>`` = student / teacher for each quality that both have.

    Ranks and losses, where lower is better, are left out: their ratio would read the other way round. NaN where the
    teacher's value is 0.

    Args:
        student: values by name, such as ``image_to_text/recall@5``.
        teacher: values by the same names.
    """
    return {
        f"retention/{name}": float(value) / float(teacher[name]) if float(teacher[name]) else math.nan
        for name, value in student.items()
        if name in teacher and higher_is_better(name)
    }
