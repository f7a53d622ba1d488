"""Logits of the likeliest classes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.teachers.cache.format import Format

__all__ = ["Top"]


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


def _classes_last(logits: Tensor) -> Tensor:
    return logits.movedim(1, -1) if logits.ndim == 4 else logits
