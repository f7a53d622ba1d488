"""The teacher: one call, whether it runs or is read from memory. No optimizer trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models import Chunked, Preprocess, SharedSpace, Tap, Tapped, load_model
from kdmm.outputs import Batch, Outputs
from kdmm.teachers.view_source import ViewSource

__all__ = ["Absent", "FromRun", "Frozen", "Running", "Teacher", "model_file"]

Precision: TypeAlias = Literal["float32", "bfloat16"]


class Teacher(nn.Module, ABC):
    """Answers a batch without gradient."""

    preprocess: Preprocess

    @abstractmethod
    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Return what the teacher says of what it reads."""

    @abstractmethod
    def online(self) -> Teacher:
        """Return the running teacher, which answers any batch."""

    @property
    def preprocesses(self) -> dict[str, Preprocess]:
        """What the teacher reads, by the name that it has in a batch; several teachers in one read under several."""
        return {"teacher": self.preprocess}

    @property
    def outlasts_training(self) -> bool:
        """Whether the teacher is there when a finished run is measured."""
        return True

    @property
    def reader(self) -> nn.Module | None:
        """The model whose text tower stands in for a student's that has none; ``None``: there is no single one."""
        return None

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """The models that run beside the student; none where answers are looked up."""
        return ()

    def answer(self, batch: Batch) -> Outputs:
        """Return what the teacher says of a batch, which holds what it reads under the names of `preprocesses`."""
        outputs: Outputs = self(batch["teacher"])
        return outputs

    def attach(self, student: nn.Module) -> None:
        """Look at the student that is to be taught. Called once, when both are built."""

    def prepare(self, data: ViewSource, splits: Iterable[str]) -> None:
        """Look ahead at what will be asked. Called once, before training, on every rank, with the device set."""

    def after_step(self, student: nn.Module) -> None:
        """Look at the student after a step of the optimizer; batches whose gradients only accumulate are no steps."""


class Running(Teacher, ABC):
    """A model that runs beside the student: always in evaluation mode and without gradients.

    PyTorch sees no parameters, buffers or submodules here: optimizers, DDP, EMA, ``state_dict``, ``train()`` and
    ``requires_grad_()`` of whatever holds the teacher cannot reach the model. ``.to()`` and its like do.
    """

    precision: Precision | None = None
    """That the model runs in, whose answers are then float32; ``None``: the Trainer's."""
    size: int | None = None
    """Samples that it answers at a time; ``None``: all of a batch."""

    def hold(self, model: nn.Module) -> None:
        """Take the model in."""
        model.requires_grad_(False)
        model.eval()
        self._held = (model,)  # a tuple is no registered submodule
        self.preprocess = cast(Preprocess, model.preprocess)

    @property
    def model(self) -> nn.Module:
        """The model itself."""
        return self._held[0]

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """The model."""
        return (self.model,)

    @property
    def reader(self) -> nn.Module | None:
        """The model."""
        return self.model

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Running:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        self.model._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        return self

    @torch.no_grad()  # not `inference_mode`: what a loss saves for its gradient may not come from there
    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Run the model on what it reads."""
        model = self.model if self.size is None else Chunked(self.model, self.size)
        if self.precision is None:
            outputs: Outputs = model(batch)
            return outputs
        device = next(self.model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            found: Outputs = model(batch)
        return {name: rows.float() if rows.is_floating_point() else rows for name, rows in found.items()}

    def online(self) -> Running:
        """Return itself."""
        return self


class Frozen(Running):
    """A trained model that never changes, and is in no checkpoint.

    Args:
        model: any model that gives Outputs.
        taps: activations of inner layers among its outputs, as for :class:`kdmm.models.Tapped`.
        precision: that it runs in, whatever the student does; its answers are float32. ``None``: the Trainer's.
        size: samples that it answers at a time, such as those of a :class:`kdmm.models.Chunked` student: a batch of any
            size is then answered in the memory of so many. ``None``: the whole batch.

    Raises:
        InputError: a model of a shared space whose weights came from nowhere; or ``size`` is below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Mapping[str, str | Mapping[str, Any] | Tap] | None = None,
        precision: Precision | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        if size is not None and size < 1:
            raise InputError(f"teacher.size: {size} given; give 1 or more samples, or null for the whole batch.")
        self.precision = precision
        self.size = size
        if any(isinstance(part, SharedSpace) and part.weights_from is None for part in model.modules()):
            raise InputError(
                "teacher: the model has no trained weights, and a random teacher teaches nothing. Take "
                "`kdmm.teachers.FromRun` with a finished run, or `kdmm.models.OpenClip` or `Clap` with trained weights."
            )
        self.hold(Tapped(model, taps) if taps else model)


class Absent(Teacher):
    """In the place of a teacher that ended with training: it reads nothing and says nothing."""

    @property
    def preprocesses(self) -> dict[str, Preprocess]:
        """Nothing."""
        return {}

    def answer(self, batch: Batch) -> Outputs:
        """Return nothing."""
        return {}

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Return nothing."""
        return {}

    def online(self) -> Absent:
        """Return itself."""
        return self


def FromRun(  # noqa: N802  a teacher to its users, who write it beside Frozen in YAML
    run: str,
    taps: Mapping[str, str | Mapping[str, Any] | Tap] | None = None,
    allow: Sequence[str] = (),
    precision: Precision | None = None,
    changes: Mapping[str, Any] | None = None,
    size: int | None = None,
) -> Frozen:
    """Take the model of a finished run as the teacher.

    A run whose teacher is such a run, and so on, is a chain: of equal models born-again networks (Furlanello et al.
    2018, https://arxiv.org/abs/1805.04770), of ever smaller ones teacher assistants (Mirzadeh et al. 2020,
    https://arxiv.org/abs/1902.03393).

    Args:
        run: the run's folder.
        taps: activations of inner layers among its outputs, as for :class:`kdmm.models.Tapped`.
        allow: packages of your own that the run's model is built from.
        precision: that it runs in, as for `Frozen`.
        changes: arguments of the run's model, nested as in its YAML, that are others than in its training, such as
            ``{decoder: {attentions: true}}`` for a decoder that gave no attention then.
        size: samples that it answers at a time, as for `Frozen`.

    Raises:
        InputError: no such run, or it is not finished.
    """
    return Frozen(load_model(model_file(Path(run)), tuple(allow), changes), taps, precision, size)


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
