"""Reading class scores and labels, for the terms of this room."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.losses.term import both_present
from kdmm.outputs import Batch, Outputs, read

__all__ = ["UNLABELLED", "other_classes", "read_both_scores", "read_label", "read_scores", "refuse_two_classes"]

UNLABELLED = -1  # the DataModule's number for a sample without this label


def read_scores(term: str, outputs: Outputs, name: str, whose: str) -> Float[Tensor, "B C"]:
    """Return ``outputs[name]``.

    Raises:
        InputError: these are not the scores of two or more classes.
    """
    scores = read(outputs, name, whose)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise InputError(
            f"{term}: {whose}.{name} has the shape {tuple(scores.shape)}. Give scores (B, C) of two or more classes: a "
            "softmax over one class is always 1. For tokens take a term of the sequences, for maps one of the dense."
        )
    return scores


def read_both_scores(
    term: str, student: Outputs, student_name: str, teacher: Outputs, teacher_name: str
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"], Bool[Tensor, "B"]]:
    """Return the scores of both models, and which samples both have.

    Raises:
        InputError: they do not score the same number of classes.
    """
    ours = read_scores(term, student, student_name, "student")
    theirs = read_scores(term, teacher, teacher_name, "teacher")
    if ours.shape[1] != theirs.shape[1]:
        raise InputError(
            f"{term}: student.{student_name} scores {ours.shape[1]} classes, and teacher.{teacher_name} "
            f"{theirs.shape[1]}. Give both models the same classes in the same order."
        )
    return ours, theirs, both_present(student, student_name, teacher, teacher_name)


def read_label(term: str, batch: Batch, label: str, scores: Float[Tensor, "B C"]) -> Int[Tensor, "B"]:
    """Return ``batch[label]``, the class of each sample or -1, where the scores are.

    Raises:
        InputError: the batch holds no such labels, or a label is of no class.
    """
    if label not in batch:
        raise InputError(
            f"{term}: label is {label!r}, but the batch holds only {', '.join(sorted(batch)) or 'nothing'}."
            + nearest(label, batch)
        )
    labels = torch.as_tensor(batch[label], device=scores.device)
    if len(labels) and not (labels.min() >= UNLABELLED and labels.max() < scores.shape[1]):
        raise InputError(
            f"{term}: batch[{label!r}] holds labels from {int(labels.min())} to {int(labels.max())}, but the model "
            f"scores {scores.shape[1]} classes. Give 0 to {scores.shape[1] - 1}, and {UNLABELLED} for no label."
        )
    return labels


def other_classes(scores: Float[Tensor, "N C"], labels: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
    """Return the scores with -inf at each row's own class."""
    return scores.scatter(1, labels[:, None], -math.inf)


def refuse_two_classes(term: str, scores: Float[Tensor, "B C"]) -> None:
    """Refuse two classes, of which one alone is not the label: its share of itself is always 1.

    Raises:
        InputError: there are two.
    """
    if scores.shape[1] == 2:
        raise InputError(
            f"{term}: the model scores 2 classes, so there is one class besides the label, and how the others share "
            "their probability is no knowledge. Take KD, or score three classes or more."
        )
