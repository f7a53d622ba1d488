"""How answers are kept: in float32 or less, or as logits of the likeliest classes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.teachers.cache.format import Format
from kdmm.teachers.cache.top_logits import Top

__all__ = ["DTYPES", "parse_format"]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
INT8 = "int8"
TOP = re.compile(r"top([1-9]\d*)(?:@(\d+(?:\.\d*)?))?")
STEPS = 127  # of int8 on either side of 0


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
