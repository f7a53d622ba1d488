"""Models that judge what others have written."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from kdmm.errors import InputError
from kdmm.metrics.written import Writes

__all__ = ["check_judge"]


def check_judge(judge: nn.Module, modality: str, setting: str) -> None:
    """Refuse a model that has no space which a medium and texts share.

    Args:
        judge: a model, or a teacher that runs one, with ``preprocess``.
        modality: of the medium, such as ``image``.
        setting: where the judge was given, for messages.

    Raises:
        InputError: it does not read both, or reads them to write.
    """
    model = getattr(judge, "model", judge)  # a teacher holds its own
    read = cast(Any, judge).preprocess.modalities
    if isinstance(model, Writes) or not {modality, "text"} <= set(read):
        raise InputError(
            f"{setting}: its model, {type(model).__name__}, reads {', '.join(read) or 'nothing'} and gives no space "
            f"that {modality} and text share. Give a model that does, such as a DualEncoder, or the run of one."
        )
