"""Distil large multimodal teachers into small students, on PyTorch Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdmm.comparison import Comparison, compare
    from kdmm.distillation import Distilled, distill
    from kdmm.run import (
        Generated,
        Run,
        Written,
        cache,
        complete,
        evaluate,
        fit,
        generate,
        load,
        plan,
        report,
        tune,
        verify,
    )

HOMES = {
    "Comparison": "kdmm.comparison",
    "Distilled": "kdmm.distillation",
    "compare": "kdmm.comparison",
    "distill": "kdmm.distillation",
}  # the others are of kdmm.run

__all__ = [
    "Comparison",
    "Distilled",
    "Generated",
    "Run",
    "Written",
    "cache",
    "compare",
    "complete",
    "distill",
    "evaluate",
    "fit",
    "generate",
    "load",
    "plan",
    "report",
    "tune",
    "verify",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what runs experiments when it is first asked for: `kdmm --help` must not wait for torch."""
    if name in __all__:
        return getattr(import_module(HOMES.get(name, "kdmm.run")), name)
    raise AttributeError(f"module 'kdmm' has no attribute {name!r}")
