"""The samples and places at which activations of two models are compared."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.distributed import all_reduce_sum
from kdmm.errors import InputError
from kdmm.losses.term import named
from kdmm.outputs import Outputs, present, read, scatter_present, valid

__all__ = ["Compared", "by_sample", "channels_last", "checked_layers", "compared", "named_layers", "over_channels"]


class Compared(NamedTuple):
    """Two models' activations of the same N samples, zero at the places that do not count.

    Attributes:
        student: (N, D), (N, T, D) or (N, C, H, W).
        teacher: one of these; it gets no gradient.
        places: (N,), (N, S) or (N, I, J) bool, which of the teacher's places count; at least one a sample.
    """

    student: Float[Tensor, "N ..."]
    teacher: Float[Tensor, "N ..."]
    places: Bool[Tensor, "N *S"]


def compared(
    student: Outputs, teacher: Outputs, layers: Sequence[tuple[str, str]]
) -> tuple[list[Compared], Bool[Tensor, "B"]]:
    """Return what is compared in each layer, and which samples: those that have a place that counts in every layer.

    Args:
        student: what the student gives.
        teacher: what the teacher gives.
        layers: the student's name and the teacher's name of each.

    Raises:
        InputError: the student's places are marked by ``valid/<name>`` and the teacher has others.
    """
    places = [_places(student, ours, teacher, theirs) for ours, theirs in layers]
    there = torch.stack([flag.unsqueeze(-1).flatten(1).any(1) for flag in places]).all(0)
    return [
        Compared(*_rows(student, ours, teacher, theirs, flag, there), flag[there])
        for (ours, theirs), flag in zip(layers, places, strict=True)
    ], there


def _rows(
    student: Outputs, our_name: str, teacher: Outputs, their_name: str, flag: Tensor, there: Tensor
) -> tuple[Tensor, Tensor]:
    ours, theirs = student[our_name], teacher[their_name]
    marked = any(f"valid/{name}" in outputs for name, outputs in ((our_name, student), (their_name, teacher)))
    same = _size(ours) == _size(theirs)
    ours, theirs, flag = ours[there], theirs[there].detach(), flag[there]
    if marked:  # padding may hold anything; adapters and softmaxes must not see it
        ours = torch.where(over_channels(flag, ours), ours, 0.0) if same else ours
        theirs = torch.where(over_channels(flag, theirs), theirs, 0.0)
    return ours, theirs


def _places(student: Outputs, our_name: str, teacher: Outputs, their_name: str) -> Bool[Tensor, "B *S"]:
    """Return which of the teacher's places count in both models."""
    ours, theirs = read(student, our_name, "student"), read(teacher, their_name, "teacher")
    flag = valid(teacher, their_name)
    if _size(ours) == _size(theirs):
        return flag & valid(student, our_name)
    if f"valid/{our_name}" in student:
        raise InputError(
            f"valid/{our_name} marks the places of student.{our_name}, {tuple(ours.shape)}, but teacher.{their_name} "
            f"is {tuple(theirs.shape)} and has other places. Tap layers with the same places, or pool them."
        )
    return flag & present(student, our_name).reshape(-1, *[1] * (flag.ndim - 1))


def _size(x: Tensor) -> tuple[int, ...]:
    """Return the size of the places: () for vectors, (T,) for tokens, (H, W) for maps."""
    return tuple(x.shape[1:2] if x.ndim == 3 else x.shape[2:])


def channels_last(x: Float[Tensor, "N ..."]) -> Float[Tensor, "N *S D"]:
    """Return activations with one vector a place: maps (N, C, H, W) as (N, H, W, C), others as they are."""
    return x.movedim(1, -1) if x.ndim == 4 else x


def over_channels(places: Tensor, x: Tensor) -> Tensor:
    """Return ``places`` (N, *S) such that it broadcasts over the channels of ``x``."""
    return places.unsqueeze(1 if x.ndim == 4 else -1)


def by_sample(
    values: Float[Tensor, "N *S"], places: Bool[Tensor, "N *S"], there: Bool[Tensor, "B"]
) -> Float[Tensor, "B"]:
    """Return values of samples whose mean over samples is the mean over places, both of all ranks.

    A sample with more places that count has more of the mean, in proportion: a mean of the samples' own means would
    give a token of a short text the weight of many.

    Args:
        values: of each place; where it does not count, anything finite.
        places: which places count.
        there: which of the B samples the N are.
    """
    values, places = values.unsqueeze(-1).flatten(1), places.unsqueeze(-1).flatten(1)
    samples, total = all_reduce_sum(torch.stack([there.sum(), places.sum()]))
    means = torch.where(places, values, 0.0).sum(1) * samples / total.clamp(min=1)
    return scatter_present(means, there)


def checked_layers(term: str, layers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the student's and the teacher's name of each layer.

    Raises:
        InputError: there is none.
    """
    if not layers:
        raise InputError(
            f"{term}: layers is empty. Give at least one, the student's name and the teacher's, such as "
            "{layer3: layer3}."
        )
    return tuple(layers.items())


def named_layers(arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names under ``layers`` in the YAML, none where it is wrong or missing; for `Term.reads`."""
    layers = arguments.get("layers")
    if not isinstance(layers, Mapping):
        return frozenset(), frozenset()
    return named(*layers), named(*layers.values())
