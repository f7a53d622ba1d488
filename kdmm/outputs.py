"""What models return and what batches hold: the names that every part of kdmm shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError, nearest

__all__ = ["MODALITIES", "Batch", "Outputs", "present", "read", "scatter_present"]

MODALITIES = ("image", "text", "audio", "video")

Outputs: TypeAlias = Mapping[str, Tensor]
"""Named tensors. ``image``, ``text``, ...: embeddings (B, D), float32, L2-normalized, zero rows where the sample lacks
the modality; ``present/<modality>``: (B,) bool, all true when absent; ``logit_scale``: scalar, exponentiated;
``logit_bias``: scalar; ``logits``: (B, C)."""

Batch: TypeAlias = Mapping[str, Any]
"""``id``: list of B str; ``view``: list of B int; ``caption``: list of B ``str | None``; ``caption_id``: (B,) int64,
equal for equal captions; one mapping per model (``student``, ``teacher``) with what that model reads; labels if any."""


def read(outputs: Outputs, name: str, whose: str) -> Tensor:
    """Return ``outputs[name]``.

    Args:
        outputs: what a model returned.
        name: the tensor's name.
        whose: the model's role, ``student`` or ``teacher``, for the message.

    Raises:
        InputError: the model gives no such tensor; the message lists what it gives.
    """
    if name not in outputs:
        raise InputError(
            f"A term reads {whose}.{name}, but the {whose} gives only {', '.join(sorted(outputs)) or 'nothing'}."
            + nearest(name, outputs)
        )
    return outputs[name]


def present(outputs: Outputs, modality: str) -> Bool[Tensor, "B"]:
    """Return which of the B samples have ``modality``: ``present/<modality>`` if given, else all true."""
    flag = outputs.get(f"present/{modality}")
    if flag is not None:
        return flag
    embedding = outputs[modality]
    return torch.ones(len(embedding), dtype=torch.bool, device=embedding.device)


def scatter_present(rows: Float[Tensor, "N ..."], flag: Bool[Tensor, "B"]) -> Float[Tensor, "B ..."]:
    """Place the N rows of the samples that are present at their places among B rows; the other rows are zero."""
    if len(rows) == len(flag):  # nothing is missing: no copy
        return rows
    out = rows.new_zeros((len(flag), *rows.shape[1:]))
    return out.index_put((flag.nonzero().squeeze(1),), rows)
