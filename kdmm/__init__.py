"""Distil large multimodal teachers into small students, on PyTorch Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdmm.run import Run, evaluate, fit, load, report

__all__ = ["Run", "evaluate", "fit", "load", "report"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what runs experiments when it is first asked for: `kdmm --help` must not wait for torch."""
    if name in __all__:
        return getattr(import_module("kdmm.run"), name)
    raise AttributeError(f"module 'kdmm' has no attribute {name!r}")
