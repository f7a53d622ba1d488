"""Distilling one plain model into another, in a notebook or a script of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from kdmm.callbacks import History, StepSeed
from kdmm.config import to_yaml
from kdmm.errors import InputError
from kdmm.losses import Objective, Schedule, Term, Weighting
from kdmm.models import Plain, Tapped
from kdmm.models.plain import INPUTS, preserved_training, restore_training
from kdmm.modules import DistillationModule, Optimization
from kdmm.outputs import Batch
from kdmm.runs.quiet import quiet
from kdmm.targets import node
from kdmm.teachers import Frozen
from kdmm.views import preserved_randomness

__all__ = ["Distilled", "distill"]

LABELS = ("label", "labels")  # a loader's entries that no model reads


@dataclass(frozen=True)
class Distilled:
    """What `distill` returns.

    Attributes:
        student: the model that was given, trained, in evaluation mode.
        history: one row a logged step: ``step``, ``train/loss``, ``train/<term>`` and ``train/weight/<term>``.
        yaml: an experiment that does the same, with ``???`` where Python objects would have to be named.
    """

    student: nn.Module
    history: list[dict[str, Any]]
    yaml: str


def distill(
    student: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Any],
    terms: Mapping[str, Term],
    weights: Mapping[str, float | int | Schedule] | Weighting | None = None,
    *,
    epochs: int = 1,
    lr: float = 1e-3,
    optimizer: Callable[..., Optimizer] | None = None,
    student_taps: Mapping[str, Any] | None = None,
    teacher_taps: Mapping[str, Any] | None = None,
    seed: int = 0,
    trainer: Mapping[str, Any] | None = None,
) -> Distilled:
    """Train a student by a teacher; both are plain modules.

    A batch of the loader is ``(inputs, labels)``, ``inputs`` alone, or a mapping of named inputs with ``label`` or
    ``labels`` among them, as transformers' collators make it. Terms read ``logits`` where a model returns one tensor,
    else the names that it returns, and the names of the taps; labels are ``label``. The teacher is left as it was.

    Args:
        student: called with a batch's inputs; trained in place.
        teacher: called with the same inputs, in evaluation mode and without gradients.
        loader: any iterable that has a length and can be gone through several times.
        terms: losses by name, `kdmm.losses`.
        weights: by term, numbers or schedules, or a strategy; ``None`` for 1 each.
        epochs: passes over the loader.
        lr: learning rate of the default optimizer, AdamW without decay on norms and biases.
        optimizer: called with parameter groups instead, such as ``functools.partial(torch.optim.SGD, lr=0.1)``.
        student_taps: activations of the student by name, as for :class:`kdmm.models.Tapped`.
        teacher_taps: activations of the teacher.
        seed: of what is drawn in training.
        trainer: further arguments of `lightning.pytorch.Trainer`, such as ``{"precision": "bf16-mixed"}``.

    Raises:
        InputError: the loader is empty, a model returns what cannot be read, or a term reads what no model gives.
        NonFiniteLossError: a term became NaN or infinite.

    Example:
        >>> done = kdmm.distill(student, teacher, loader, {"kd": KD(), "hard": CrossEntropy()}, epochs=3)
    """
    kept = preserved_training(teacher)
    tapped = [_tapped(Plain(model), taps) for model, taps in ((student, student_taps), (teacher, teacher_taps))]
    optimization = Optimization(optimizer or _AdamW(lr))
    objective = Objective(terms, weights)
    module = _Bare(tapped[0], Frozen(tapped[1]), objective, optimization, metrics={})
    history = History()
    settings = {"max_epochs": epochs, "devices": 1, "log_every_n_steps": 1, **(trainer or {})}
    try:
        with quiet(), preserved_randomness():
            torch.manual_seed(seed)
            module.dry_run(module.converted(_first(loader)))
            pl.Trainer(
                **settings,
                logger=history,
                callbacks=[StepSeed(seed)],
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            ).fit(module, train_dataloaders=_Loader(loader))
    finally:
        for model in tapped:
            if isinstance(model, Tapped):
                model.remove()
        restore_training(teacher, kept)
    return Distilled(
        student.eval(), history.rows, _yaml(terms, weights, student_taps, teacher_taps, settings, lr, seed)
    )


class _Bare(DistillationModule):
    """Distils with batches of any loader."""

    def converted(self, batch: Any) -> Batch:
        """Return the batch in kdmm's form."""
        inputs, labels = _divided(batch)
        count = len(next(iter(_tensors(inputs))))
        found: dict[str, Any] = {"id": [str(row) for row in range(count)]}
        if labels is not None:
            found["label"] = labels
        return {**found, "student": {INPUTS: inputs}, "teacher": {INPUTS: inputs}}

    def on_fit_start(self) -> None:
        """Look ahead at nothing: a loader of one's own is known batch by batch."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Convert what the loader gives, on the device."""
        return self.converted(batch)


class _Loader:
    """An iterable as one loader: Lightning takes the entries of a list for loaders of their own."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches
        try:
            self.length = len(batches)  # type: ignore[arg-type]  # that is the question
        except TypeError:
            raise InputError(
                "kdmm.distill: the loader has no length, so no schedule could tell how far training is. Give a "
                "DataLoader over a data set with a length, or a list of batches."
            ) from None

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class _AdamW:
    """AdamW of one learning rate, for parameter groups."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def __call__(self, parameters: Any) -> Optimizer:
        return AdamW(parameters, lr=self.lr)


def _tapped(model: nn.Module, taps: Mapping[str, Any] | None) -> nn.Module:
    # the taps' names are those of the plain model's modules
    return model if not taps else Tapped(model, {name: _inside(tap) for name, tap in taps.items()})


def _inside(tap: Any) -> Any:
    if isinstance(tap, Mapping):
        return {**tap, "module": f"model.{tap['module']}"}
    return f"model.{tap}"


def _first(loader: Iterable[Any]) -> Any:
    for batch in loader:
        return batch
    raise InputError("kdmm.distill: the loader is empty. Give one with a batch at least.")


def _divided(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        labels = next((batch[name] for name in LABELS if name in batch), None)
        return {name: value for name, value in batch.items() if name not in LABELS}, labels
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, list | tuple) and len(batch) == 1:
        return batch[0], None
    if isinstance(batch, Tensor):
        return batch, None
    raise InputError(
        f"kdmm.distill: a batch of the loader is {type(batch).__name__}. Accepted: (inputs, labels), inputs alone, or "
        "a mapping of named inputs with labels among them."
    )


def _tensors(inputs: Any) -> list[Tensor]:
    values = inputs if isinstance(inputs, list | tuple) else [inputs]
    if isinstance(inputs, Mapping):
        values = list(inputs.values())
    found = [value for value in values if isinstance(value, Tensor) and value.ndim]
    if not found:
        raise InputError("kdmm.distill: a batch of the loader holds no tensor to feed to the models.")
    return found


def _yaml(
    terms: Mapping[str, Term],
    weights: Any,
    student_taps: Mapping[str, Any] | None,
    teacher_taps: Mapping[str, Any] | None,
    trainer: Mapping[str, Any],
    lr: float,
    seed: int,
) -> str:
    def model(taps: Mapping[str, Any] | None) -> dict[str, Any]:
        plain = {"_target_": "kdmm.models.Plain", "model": "???", "image": "???"}
        if not taps:
            return plain
        return {"_target_": "kdmm.models.Tapped", "model": plain, "taps": {n: _inside(tap) for n, tap in taps.items()}}

    tree = {
        "name": "???",
        "seed": seed,
        "data": "???",
        "module": {
            "_target_": "kdmm.modules.DistillationModule",
            "student": model(student_taps),
            "teacher": {"_target_": "kdmm.teachers.Frozen", "model": model(teacher_taps)},
            "objective": {
                "_target_": "kdmm.losses.Objective",
                "terms": node(terms),
                "weights": node(weights),
            },
            "optimization": {
                "_target_": "kdmm.modules.Optimization",
                "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": lr},
            },
        },
        "trainer": dict(trainer),
    }
    return to_yaml(tree)
