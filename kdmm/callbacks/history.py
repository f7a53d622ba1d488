"""What was logged, kept in memory: for notebooks and tests."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

__all__ = ["History"]


class History(Logger):
    """Keeps one row a logged step.

    Attributes:
        rows: each with ``step``, ``epoch`` and what was logged at that step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Return the logger's name."""
        return "history"

    @property
    def version(self) -> str:
        """Return an empty version: nothing is written."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: who calls has the settings."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of this step, or begin one."""
        if not self.rows or self.rows[-1]["step"] != (step or 0):
            self.rows.append({"step": step or 0})
        self.rows[-1].update({name: float(value) for name, value in metrics.items()})
