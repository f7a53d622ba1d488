"""Models and losses compiled by torch.compile for the length of a training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.losses import Objective
from kdmm.teachers import Teacher

__all__ = ["Compiled"]

MODELS = ("student", "teacher")
OBJECTIVE = "objective"


class Compiled(pl.Callback):
    """Compiles models and losses by ``torch.compile`` while they are trained with; what is saved is as without it.

    What cannot be compiled, on a machine without a compiler, say, runs as it is written, with PyTorch's own warning.
    A batch of another size is compiled anew once, and from then on for any size.

    Args:
        models: which of ``student`` and ``teacher``, of an ensemble all that run; of a teacher whose answers are looked
            up nothing runs. With ``objective`` also each of its terms, but for those with a ``tile``, whose loop over
            tiles would be compiled tile by tile.
        mode: of ``torch.compile``.
        backend: of ``torch.compile``.

    Raises:
        InputError: no model, or one of another name.
    """

    def __init__(
        self,
        models: Sequence[str] = MODELS,
        mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "default",
        backend: str = "inductor",
    ) -> None:
        accepted = (*MODELS, OBJECTIVE)
        if not models or any(name not in accepted for name in models):
            raise InputError(f"Compiled.models: {list(models)} given; accepted: {', '.join(accepted)}.")
        self.models = tuple(models)
        self.mode = mode
        self.backend = backend
        self._open = contextlib.ExitStack()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Compile the models and terms, at their first batch."""
        teacher = getattr(pl_module, "teacher", None)
        found = {
            "student": (pl_module.model,),
            "teacher": teacher.models if isinstance(teacher, Teacher) else (),
            OBJECTIVE: [
                term
                for objective in pl_module.modules()
                if isinstance(objective, Objective)
                for term in objective.terms.values()
                if not _is_tiled(term)
            ],
        }
        for model in (model for name in self.models for model in found[name]):
            self._open.enter_context(_compiled(model, self.mode, self.backend))

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Run them as they are written again."""
        self._open.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """As at the end."""
        self._open.close()


@contextlib.contextmanager
def _compiled(model: nn.Module, mode: str, backend: str) -> Iterator[None]:
    """Compile a model in place, with what it cannot compile left as it is; and undo it."""
    model.compile(mode=None if mode == "default" else mode, backend=backend)
    # A weighting such as `PCGrad` goes back through a term twice, for which its buffers may not be given away.
    with torch._dynamo.config.patch(suppress_errors=True), torch._functorch.config.patch(donated_buffer=False):
        try:
            yield
        finally:
            model._compiled_call_impl = None  # PyTorch has no public way back


def _is_tiled(term: nn.Module) -> bool:
    """Whether a term, or one that it weighs, compares rows in tiles."""
    return any(getattr(part, "tile", None) is not None for part in term.modules())
