"""What models return and what batches hold: the names that every part of kdmm shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError, nearest

__all__ = [
    "IGNORED",
    "MODALITIES",
    "Batch",
    "Outputs",
    "pair_name",
    "present",
    "read",
    "scalar_name",
    "scatter_present",
    "valid",
]

IGNORED = -100
"""The label of a place that has none: PyTorch and transformers ignore it by default."""

STORED = " If it is read from a store that keeps no more, write one that keeps it with `kdmm cache --outputs`."

MODALITIES = ("image", "text", "audio", "video", "source")
"""What a sample may have. ``source`` is a text that is read to write ``text``, such as the one to be translated."""

Outputs: TypeAlias = Mapping[str, Tensor]
"""Named tensors. ``image``, ``text``, ...: embeddings (B, D), float32, L2-normalized, zero rows where the sample lacks
the modality; ``logit_scale``: scalar, exponentiated; ``logit_bias``: scalar; both also as
``<name>/<one>-<other>`` where pairs of modalities have their own; ``logits``: (B, C), (B, T, V) or
(B, C, H, W), before any softmax; tapped activations under their tap's name: (B, D), (B, T, D) or (B, C, H, W).
``present/<name>``: (B,) bool, which samples have what is called so; ``valid/<name>``: (B, T) or (B, H, W) bool, which
of its places count (no padding); ``keys/<name>``: (B, S) bool, of attention (B, heads, T, S) to other places than its
own, which of these count. All three are all true when they are not given."""

Batch: TypeAlias = Mapping[str, Any]
"""``id``: list of B str; ``view``: list of B int; ``caption``: list of B ``str | None``; ``caption_id``: (B,) int64,
equal for equal captions; one mapping per model (``student``, ``teacher``) with what that model reads; labels if any.
Of marked pictures also ``boxes``, ``box_classes`` and ``masks``: lists of B tensors (N, 4), (N,) and (N, H, W);
``label_map``: (B, H, W) int64, 255 where unlabelled, if a source has maps; ``marked``: (B,) bool; ``image_size``:
(H, W), of all pictures."""


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
            + (nearest(name, outputs) or (STORED if whose == "teacher" else ""))
        )
    return outputs[name]


def present(outputs: Outputs, modality: str, whose: str = "model") -> Bool[Tensor, "B"]:
    """Return which of the B samples have ``modality``: ``present/<modality>`` if given, else all true.

    Args:
        outputs: what a model returned.
        modality: the tensor's name.
        whose: as for `read`.

    Raises:
        InputError: the model gives neither.
    """
    flag = outputs.get(f"present/{modality}")
    if flag is not None:
        return flag
    embedding = read(outputs, modality, whose)
    return torch.ones(len(embedding), dtype=torch.bool, device=embedding.device)


def valid(outputs: Outputs, name: str) -> Bool[Tensor, "B *places"]:
    """Return which places of ``outputs[name]``, tokens (B, T) of (B, T, D) or pixels (B, H, W) of (B, C, H, W), count.

    It is ``valid/<name>`` if given, else all true, and false for all of a sample that lacks ``name``.
    """
    tensor = outputs[name]
    flag = outputs.get(f"valid/{name}")
    if flag is None:
        places = tensor.shape[1:2] if tensor.ndim == 3 else tensor.shape[2:]
        flag = torch.ones((len(tensor), *places), dtype=torch.bool, device=tensor.device)
    return flag & present(outputs, name).reshape(-1, *[1] * (flag.ndim - 1))


def scatter_present(rows: Float[Tensor, "N ..."], flag: Bool[Tensor, "B"]) -> Float[Tensor, "B ..."]:
    """Place the N rows of the samples that are present at their places among B rows; the other rows are zero."""
    if len(rows) == len(flag):  # nothing is missing: no copy
        return rows
    out = rows.new_zeros((len(flag), *rows.shape[1:]))
    return out.index_put((flag.nonzero().squeeze(1),), rows)


def pair_name(first: str, second: str) -> str:
    """Return the name of an unordered pair of modalities, such as ``audio-text``."""
    return "-".join(sorted((first, second)))


def scalar_name(outputs: Outputs, name: str, pair: tuple[str, str]) -> str:
    """Return what a pair's ``logit_scale`` or ``logit_bias`` is called, the model's where the pair has none."""
    own = f"{name}/{pair_name(*pair)}"
    return own if own in outputs else name
