"""Which tokens of two models are compared, for the terms of this room."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.outputs import Batch, Outputs, present, read

__all__ = ["IGNORED", "both_valid", "read_tokens", "token_labels", "valid_tokens"]

IGNORED = -100  # what PyTorch and transformers ignore by default


def read_tokens(term: str, outputs: Outputs, name: str, whose: str, shape: str = "(B, T, V)") -> Tensor:
    """Return ``outputs[name]``.

    Args:
        term: what reads it.
        outputs: what a model gives.
        name: the tensor's name.
        whose: the model's role.
        shape: what is asked for; the number of dimensions is checked.

    Raises:
        InputError: it has other dimensions.
    """
    tensor = read(outputs, name, whose)
    if tensor.ndim != shape.count(",") + 1:
        raise InputError(f"{term}: {whose}.{name} has the shape {tuple(tensor.shape)}. Give or tap a {shape}.")
    return tensor


def valid_tokens(outputs: Outputs, name: str) -> Bool[Tensor, "B T"]:
    """Return which tokens count: ``valid/<name>`` (B, T) if given, else all of the samples that have ``name``."""
    tensor = outputs[name]
    flag = outputs.get(f"valid/{name}")
    if flag is None:  # T is the second dimension of (B, T, D), and the last of attention (B, heads, T, T)
        flag = torch.ones((len(tensor), tensor.shape[-2]), dtype=torch.bool, device=tensor.device)
    return flag & present(outputs, name)[:, None]


def both_valid(
    term: str, student: Outputs, student_name: str, teacher: Outputs, teacher_name: str
) -> Bool[Tensor, "B T"]:
    """Return which tokens count for both models.

    Raises:
        InputError: their sequences have different lengths.
    """
    ours, theirs = valid_tokens(student, student_name), valid_tokens(teacher, teacher_name)
    if ours.shape != theirs.shape:
        raise InputError(
            f"{term}: student.{student_name} has {ours.shape[1]} tokens a sequence, and teacher.{teacher_name} "
            f"{theirs.shape[1]}. Tokens are compared place by place: give both models the same tokens and padding."
        )
    return ours & theirs


def token_labels(
    term: str, batch: Batch, label: str, ignore_index: int, tokens: Bool[Tensor, "B T"]
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Return ``batch[label]``, where the tokens are, and which of the tokens count that have a label.

    Raises:
        InputError: the batch holds no such labels, or they have another shape.
    """
    if label not in batch:
        raise InputError(
            f"{term}: label is {label!r}, but the batch holds only {', '.join(sorted(batch)) or 'nothing'}."
            + nearest(label, batch)
        )
    labels = torch.as_tensor(batch[label], device=tokens.device)
    if labels.shape != tokens.shape:
        raise InputError(
            f"{term}: batch[{label!r}] has the shape {tuple(labels.shape)}, and the scores are of "
            f"{tuple(tokens.shape)} tokens. Give one label a token, {ignore_index} where there is none."
        )
    return labels, tokens & (labels != ignore_index)
