"""How answers are kept: in float32 or less, as logits of the likeliest classes, and what that loses."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError, nearest

__all__ = ["DTYPES", "Format", "cosines", "merged", "parse_format"]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
INT8 = "int8"
TOP = re.compile(r"top([1-9]\d*)(?:@(\d+(?:\.\d*)?))?")
STEPS = 127  # of int8 on either side of 0


class Format(ABC):
    """Turns answers (N, ...) of 32 bits into named tensors of N rows that are kept, and back."""

    name: str

    @abstractmethod
    def encode(self, answers: Float[Tensor, "N ..."]) -> dict[str, Tensor]:
        """Return what is kept, by suffixes of the answer's name."""

    @abstractmethod
    def decode(self, kept: Mapping[str, Tensor]) -> Float[Tensor, "N ..."]:
        """Return the answers in float32, but for what was lost."""

    @abstractmethod
    def bytes_of(self, shape: tuple[int, ...]) -> int:
        """Return how many bytes an answer of this shape takes."""

    @property
    def unheld(self) -> str:
        """What cannot be kept, and what to do."""
        return ""

    def is_unheld(self, answers: Float[Tensor, "N ..."], again: Float[Tensor, "N ..."]) -> Bool[Tensor, ""]:
        """Return whether a number has become infinite, or none.

        Args:
            answers: as they were.
            again: as they are decoded.
        """
        return (torch.isfinite(answers) & ~torch.isfinite(again)).any()

    def losses(self, answers: Float[Tensor, "N ..."], again: Float[Tensor, "N ..."]) -> dict[str, Tensor]:
        """Return what was lost, each value with how several batches' are merged as the end of its name.

        Args:
            answers: as they were, N at least 1.
            again: as they are decoded.
        """
        first, second = answers.flatten(1).double(), again.flatten(1).double()
        finite = torch.isfinite(first) & torch.isfinite(second)
        cosine = cosines(first, second)
        return {
            "difference_max": torch.where(finite, (first - second).abs(), 0.0).max(),
            "cosine_min": cosine.min(),
            "cosine_mean": cosine.mean(),
        }


@dataclass(frozen=True)
class Plain(Format):
    """A floating-point number for each, rounded to the nearest.

    Args:
        name: of the type.
    """

    name: str

    def encode(self, answers: Float[Tensor, "N ..."]) -> dict[str, Tensor]:
        """Round."""
        return {"": answers.to(DTYPES[self.name])}

    def decode(self, kept: Mapping[str, Tensor]) -> Float[Tensor, "N ..."]:
        """Widen."""
        return kept[""].float()

    def bytes_of(self, shape: tuple[int, ...]) -> int:
        """Return 2 or 4 a number."""
        return math.prod(shape) * DTYPES[self.name].itemsize

    @property
    def unheld(self) -> str:
        """What is beyond the type's largest number."""
        wider = "bfloat16 or float32" if self.name == "float16" else "float32"
        return f"numbers beyond {torch.finfo(DTYPES[self.name]).max:g}, which {self.name} cannot hold. Take {wider}."


@dataclass(frozen=True)
class Int8(Format):
    """A whole number from -127 to 127 for each, and a scale for each vector: its largest absolute value over 127.

    A vector is a row of (N, D), a token of (N, T, D), a channel of (N, C, H, W). The error is half a scale at most.
    """

    name: str = INT8

    def encode(self, answers: Float[Tensor, "N ..."]) -> dict[str, Tensor]:
        """Divide by the scale and round."""
        inside = tuple(range(min(2, answers.ndim - 1), answers.ndim))
        scale = answers.abs().amax(inside, keepdim=True) / STEPS
        whole = (answers / scale.clamp(min=torch.finfo(torch.float32).tiny)).round().clamp(-STEPS, STEPS)
        return {"": whole.to(torch.int8), ".scale": scale}

    def decode(self, kept: Mapping[str, Tensor]) -> Float[Tensor, "N ..."]:
        """Multiply by the scale."""
        return kept[""].float() * kept[".scale"]

    def bytes_of(self, shape: tuple[int, ...]) -> int:
        """Return one a number and four a vector."""
        return math.prod(shape) + 4 * math.prod(shape[:1] if len(shape) > 1 else ())

    @property
    def unheld(self) -> str:
        """What has no scale."""
        return "numbers that are not finite, which int8 cannot hold. Take bfloat16 or float32."

    def is_unheld(self, answers: Float[Tensor, "N ..."], again: Float[Tensor, "N ..."]) -> Bool[Tensor, ""]:
        """Return whether a number is infinite, or none: its whole vector is then lost."""
        return (~torch.isfinite(again)).any()


@dataclass(frozen=True)
class Top(Format):
    """The k largest of each place's logits, and the mass of the others, spread evenly over them.

    Classes are the last dimension of (N, C) and (N, T, C), the second of (N, C, H, W). At the format's temperature T
    the probabilities of the k classes, and the sum of all others, are exact: with ``S`` the log of the sum of
    ``exp(z/T)`` over the C - k others, each of them is given the logit ``T (S - log(C - k))``. At other temperatures
    the tail's mass is too small or too large by its spread.

    Args:
        k: how many are kept.
        temperature: T.
    """

    k: int
    temperature: float

    @property
    def name(self) -> str:  # type: ignore[override]  # computed where others keep it
        """``top<k>`` or ``top<k>@<T>``."""
        return f"top{self.k}" + ("" if self.temperature == 1 else f"@{self.temperature:g}")

    def encode(self, answers: Float[Tensor, "N ..."]) -> dict[str, Tensor]:
        """Sort out the k largest."""
        last = _classes_last(answers)
        classes = last.shape[-1]
        if self.k >= classes:
            raise InputError(f"format {self.name!r}: there are {classes} classes. Keep fewer of them, or float16.")
        values, places = last.topk(self.k)
        others = last.scatter(-1, places, -torch.inf) / self.temperature
        tail = torch.logsumexp(others, -1)
        count = torch.full((len(answers),), classes, dtype=torch.int32, device=answers.device)
        return {"": values, ".class": places.int(), ".tail": tail, ".classes": count}

    def decode(self, kept: Mapping[str, Tensor]) -> Float[Tensor, "N ..."]:
        """Spread the tail."""
        values, classes = kept[""], int(kept[".classes"].max()) if len(kept[""]) else self.k + 1
        each = self.temperature * (kept[".tail"] - math.log(classes - self.k))
        last = each.unsqueeze(-1).expand(*each.shape, classes).clone()
        last = last.scatter(-1, kept[".class"].long(), values)
        return last.movedim(-1, 1) if last.ndim == 4 else last

    def bytes_of(self, shape: tuple[int, ...]) -> int:
        """Return eight a class that is kept, and four a place."""
        classes = shape[0] if len(shape) == 3 else shape[-1]
        return math.prod(shape) // max(1, classes) * (8 * self.k + 4)

    def losses(self, answers: Float[Tensor, "N ..."], again: Float[Tensor, "N ..."]) -> dict[str, Tensor]:
        """Return the divergence KL(as it was || as it is decoded) of a place's classes, in nats at T."""
        before = (_classes_last(answers) / self.temperature).log_softmax(-1)
        after = (_classes_last(again) / self.temperature).log_softmax(-1)
        terms = torch.where(before == -torch.inf, 0.0, before.exp() * (before - after))
        divergence = terms.sum(-1).clamp(min=0).double()
        return {"divergence_max": divergence.max(), "divergence_mean": divergence.mean()}


def parse_format(written: str) -> Format:
    """Return the format of a name: ``float32``, ``float16``, ``bfloat16``, ``int8``, ``top<k>`` or ``top<k>@<T>``.

    Raises:
        InputError: there is no such format.
    """
    if written in DTYPES:
        return Plain(written)
    if written == INT8:
        return Int8()
    found = TOP.fullmatch(written)
    temperature = float(found[2] or 1) if found else 0.0
    if found and temperature > 0:
        return Top(int(found[1]), temperature)
    known = (*DTYPES, INT8)
    raise InputError(
        f"format: {written!r} given; accepted: {', '.join(known)}, top<k> such as top16, and top<k>@<temperature>."
        + nearest(written, known)
    )


def cosines(first: Float[Tensor, "N D"], second: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
    """Return the cosine of each pair of rows over the numbers that are finite in both; 1 of equal rows, zeros too."""
    finite = torch.isfinite(first) & torch.isfinite(second)
    found = torch.cosine_similarity(
        torch.where(finite, first, 0.0).double(), torch.where(finite, second, 0.0).double(), dim=1, eps=1e-30
    )
    return torch.where((first == second).all(1), 1.0, found)


def merged(parts: list[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return what was lost over several batches.

    Args:
        parts: rows, and what was lost of them.
    """
    names = dict.fromkeys(name for _, losses in parts for name in losses)
    found = {}
    for name in names:
        values = [(rows, losses[name]) for rows, losses in parts if name in losses]
        if name.endswith("_mean"):
            found[name] = sum(rows * value for rows, value in values) / sum(rows for rows, _ in values)
        else:
            found[name] = (max if name.endswith("_max") else min)(value for _, value in values)
    return found


def _classes_last(logits: Tensor) -> Tensor:
    return logits.movedim(1, -1) if logits.ndim == 4 else logits
