"""A metric that asks the model itself, not only its outputs for a batch."""

from __future__ import annotations

from abc import ABC
from typing import Any, Literal

from torch import nn
from torchmetrics import Metric

from kdmm.errors import InputError

__all__ = ["ModelMetric"]


class ModelMetric(Metric, ABC):
    """Measures what a model does beyond its forward pass, such as the texts that it writes.

    The module that evaluates shows it both models before the first batch.

    Args:
        role: whose work is measured.
    """

    full_state_update = False

    def __init__(self, role: Literal["student", "teacher"] = "student") -> None:
        super().__init__()
        self.role = role
        self._models: tuple[nn.Module | None, nn.Module | None] = (None, None)  # a tuple is no registered submodule

    def look_at(self, student: nn.Module, teacher: nn.Module | None) -> None:
        """Take note of the models.

        Args:
            student: that is trained.
            teacher: that runs; ``None``: there is no single one.
        """
        self._models = (student, teacher)

    @property
    def measured(self) -> nn.Module:
        """The model whose work is measured.

        Raises:
            InputError: there is none.
        """
        model = self._models[self.role == "teacher"]
        if model is None:
            raise InputError(
                f"{type(self).__name__}.role: {self.role!r}, but there is no single running {self.role} to ask. "
                "Leave this metric out."
            )
        return model

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_models": (None, None)}
