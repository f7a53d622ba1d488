"""Running teachers in the precision of a Trainer, where none runs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdmm.errors import InputError
from kdmm.teachers.teacher import Running

__all__ = ["Step", "check_precision", "full_name", "under"]

FULL = {"None": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}
TYPES = {"16": torch.float16, "bf16": torch.bfloat16, "32": torch.float32, "64": torch.float64}


def full_name(precision: str) -> str:
    """Return the full name of a precision that Lightning also takes under a short one."""
    return FULL.get(precision, precision)


def check_precision(precision: str) -> tuple[str, str]:
    """Return a precision's size, such as ``bf16``, and kind: ``mixed`` or ``true``.

    Args:
        precision: Lightning's name of it.

    Raises:
        InputError: it is one of other hardware's own.
    """
    size, _, kind = full_name(precision).partition("-")
    if size not in TYPES or kind not in ("mixed", "true"):
        raise InputError(
            f"precision: the store was written under {precision!r}, and the running teacher answers under 16, bf16, 32 "
            "and 64 bits, mixed or true, alone. Write the store again under one of them."
        )
    return size, kind


@dataclass(frozen=True)
class Step:
    """How teachers answer one batch.

    Args:
        device: theirs.
        whole: the type of weights and inputs; ``None``: as they are.
        mixed: the type of autocast; ``None``: it is off.
    """

    device: torch.device
    whole: torch.dtype | None
    mixed: torch.dtype | None

    @contextmanager
    def context(self) -> Iterator[None]:
        """Set what a model's operations look at. Data are read outside: what augments them looks at it, too."""
        usual = torch.get_default_dtype()
        torch.set_default_dtype(self.whole or usual)
        try:
            with torch.autocast(self.device.type, self.mixed or torch.bfloat16, enabled=self.mixed is not None):
                yield
        finally:
            torch.set_default_dtype(usual)

    def moved(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs on the device and in the type."""
        return {name: self._moved(x) if isinstance(x, Tensor) else x for name, x in inputs.items()}

    def _moved(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.whole if x.is_floating_point() else None)


@contextmanager
def under(precision: str, teachers: Iterable[Running]) -> Iterator[Step]:
    """Let teachers answer as under a Trainer of this precision, and be as they were afterwards.

    Args:
        precision: Lightning's name of it.
        teachers: all on one device.

    Raises:
        InputError: a precision of other hardware's own.
    """
    size, kind = check_precision(precision)
    models = [teacher.model for teacher in teachers]
    device = next(models[0].parameters()).device
    mixed = torch.bfloat16 if device.type == "cpu" else TYPES[size]  # as Lightning does
    step = Step(device, *((None, mixed) if kind == "mixed" else (None if size == "32" else TYPES[size], None)))
    every = [x for model in models for x in (*model.parameters(), *model.buffers())]
    tensors = [x for x in every if step.whole is not None and x.is_floating_point()]
    own = [x.data for x in tensors]
    try:
        for x in tensors:
            x.data = x.data.to(step.whole)
        yield step
    finally:
        for x, data in zip(tensors, own, strict=True):
            x.data = data
