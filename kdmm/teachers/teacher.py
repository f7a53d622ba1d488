"""The teacher: one call, whether it runs or is read from memory. It never trains and is in no checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models import DualEncoder, Preprocess, load_model
from kdmm.outputs import Outputs
from kdmm.teachers.answers import ViewSource

__all__ = ["FromRun", "Frozen", "Teacher", "model_file"]


class Teacher(nn.Module, ABC):
    """Answers a batch without gradient."""

    preprocess: Preprocess

    @abstractmethod
    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Return what the teacher says of the batch."""

    @abstractmethod
    def online(self) -> Frozen:
        """Return the running teacher, which answers any batch."""

    def prepare(self, data: ViewSource, splits: Iterable[str]) -> None:
        """Look ahead at what will be asked. Called once, before training, on every rank, with the device set."""


class Frozen(Teacher):
    """A model that runs beside the student: always in evaluation mode, without gradients, in no checkpoint.

    PyTorch sees no parameters, buffers or submodules here: optimizers, DDP, EMA, ``state_dict``, ``train()`` and
    ``requires_grad_()`` of whatever holds the teacher cannot reach the model. ``.to()`` and its like do.

    Args:
        model: any model that gives Outputs.

    Raises:
        InputError: a dual encoder whose weights came from nowhere.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if isinstance(model, DualEncoder) and model.weights_from is None:
            raise InputError(
                "teacher: the model has no trained weights, and a random teacher teaches nothing. Take "
                "`kdmm.teachers.FromRun` with a finished run, or `kdmm.models.OpenClip` with `weights`."
            )
        model.requires_grad_(False)
        model.eval()
        self._held = (model,)  # a tuple is no registered submodule
        self.preprocess = cast(Preprocess, model.preprocess)

    @property
    def model(self) -> nn.Module:
        """The model itself."""
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        self.model._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        return self

    @torch.no_grad()
    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Run the model on the batch."""
        outputs: Outputs = self.model(batch)
        return outputs

    def online(self) -> Frozen:
        """Return itself."""
        return self


def FromRun(run: str) -> Frozen:  # noqa: N802  a teacher to its users, who write it beside Frozen in YAML
    """Take the model of a finished run as the teacher.

    Args:
        run: the run's folder.

    Raises:
        InputError: no such run, or it is not finished.
    """
    return Frozen(load_model(model_file(Path(run))))


def model_file(run: Path) -> Path:
    """Return the model file of a finished run.

    Raises:
        InputError: no such run, or it is not finished.
    """
    if not run.is_dir():
        near = sorted(p.name for p in run.parent.iterdir() if p.is_dir()) if run.parent.is_dir() else []
        raise InputError(
            f"There is no run {str(run)!r}. Train it first with `kdmm fit`."
            + (f" Runs in {str(run.parent)!r}: {', '.join(near)}." if near else "")
        )
    for name in ("student.safetensors", "teacher.safetensors"):
        if (run / name).is_file():
            return run / name
    raise InputError(
        f"The run {str(run)!r} is not finished: it holds no model file. Continue it with `kdmm fit CONFIG --resume`."
    )
