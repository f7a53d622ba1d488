"""Which tokens of two models are compared, for the terms of this room."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.outputs import Batch, Outputs, present, read

__all__ = ["both_valid", "check_same_tokens", "named_labels", "read_tokens", "token_labels", "valid_tokens"]

OF_STUDENT = "student."
"""Before the name of labels that the student itself gives, such as the tokens of the texts that it was shown."""


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


def check_same_tokens(term: str, student: Outputs, teacher: Outputs) -> None:
    """Check that models that say which ``tokens`` (B, T) their ``logits`` are of agree where both have some.

    Raises:
        InputError: they do not: other vocabularies, or other tokens hidden.
    """
    given = [outputs["tokens"] for outputs in (student, teacher) if "tokens" in outputs]
    if len(given) < 2 or given[0].shape != given[1].shape:  # of other lengths: `both_valid` says so
        return
    if (given[0] != given[1])[both_valid(term, student, "logits", teacher, "logits")].any():
        raise InputError(
            f"{term}: student and teacher score other tokens of the same texts. Give both the same tokenizer "
            "(check_vocabularies compares vocabularies), and masked language models the same `ratio` and `seed`."
        )


def token_labels(
    term: str, student: Outputs, batch: Batch, label: str, ignore_index: int, tokens: Bool[Tensor, "B T"]
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Return the labels, where the tokens are, and which of the tokens count that have a label.

    Args:
        term: what reads them.
        student: what the student gives; read where `label` is ``student.<name>``.
        batch: what holds any other.
        label: what the labels are called.
        ignore_index: the label of tokens that do not count.
        tokens: which tokens count otherwise.

    Raises:
        InputError: there are no such labels, or they have another shape.
    """
    output = _output(label)
    if output is not None:
        found, where = read(student, output, "student"), label
    elif label in batch:
        found, where = torch.as_tensor(batch[label], device=tokens.device), f"batch[{label!r}]"
    else:
        hint = f" The student gives {label!r}: write 'student.{label}'." if label in student else nearest(label, batch)
        raise InputError(
            f"{term}: label is {label!r}, but the batch holds only {', '.join(sorted(batch)) or 'nothing'}.{hint}"
        )
    if found.shape != tokens.shape:
        raise InputError(
            f"{term}: {where} has the shape {tuple(found.shape)}, and the scores are of "
            f"{tuple(tokens.shape)} tokens. Give one label a token, {ignore_index} where there is none."
        )
    return found, tokens & (found != ignore_index)


def named_labels(arguments: Mapping[str, Any]) -> frozenset[str]:
    """Return which of the student's outputs holds the labels, given a term's arguments; for `Term.reads`."""
    label = arguments.get("label")
    output = _output(label) if isinstance(label, str) else None
    return frozenset() if output is None else frozenset({output})


def _output(label: str) -> str | None:
    return label.removeprefix(OF_STUDENT) if label.startswith(OF_STUDENT) else None
