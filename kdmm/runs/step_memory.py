"""The memory that a step of training takes: of its tensors by what they are for, and as the allocator counts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from kdmm.analysis.allocator import AllocatorPeak
from kdmm.analysis.memory import LiveBytes, bytes_of, tensors_in
from kdmm.teachers import Teacher

__all__ = ["StepMemory", "TensorBytes", "batches_a_step"]


@dataclass(frozen=True)
class TensorBytes:
    """Bytes of the tensors that are alive when a step takes most.

    Args:
        weights: of the student and the terms, with buffers.
        teacher: of the models that run beside the student.
        gradients: of the weights that have one.
        states: of the optimizer.
        rest: the batch, what is kept for the backward pass, and what lives for a moment.
    """

    weights: int
    teacher: int
    gradients: int
    states: int
    rest: int

    @property
    def peak(self) -> int:
        """All of them."""
        return self.weights + self.teacher + self.gradients + self.states + self.rest


class StepMemory(pl.Callback):
    """Counts the tensors of the second step, and what PyTorch's allocator gives in the third.

    The first step has made the optimizer's states, whatever they are. So precision, frozen parts, checkpointing,
    accumulation and the optimizer count as they are. What is compiled runs as it is written, for the second step.
    """

    tensors: TensorBytes
    allocated: float

    def __init__(self) -> None:
        self._batches = 0
        self._open = ExitStack()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Begin to count."""
        step, first = divmod(self._batches, batches_a_step(trainer))
        self._batches += 1
        if step not in (1, 2) or first:
            return
        there = [*_standing(pl_module), *_gradients(pl_module), *_states(trainer), *tensors_in(batch)]
        if step == 1:
            self._open.enter_context(torch.compiler.set_stance("force_eager"))
            self._live = self._open.enter_context(LiveBytes(pl_module.device, there))
        else:
            self._allocator = self._open.enter_context(AllocatorPeak(pl_module.device, there))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End it with the step."""
        step, more = divmod(self._batches, batches_a_step(trainer))
        if step not in (2, 3) or more:
            return
        self._open.close()
        if step == 2:
            weights, teacher = bytes_of(_weights(pl_module)), bytes_of(_teachers(pl_module))
            gradients, states = bytes_of(_gradients(pl_module)), bytes_of(_states(trainer))
            rest = self._live.peak - weights - teacher - gradients - states
            self.tensors = TensorBytes(weights, teacher, gradients, states, rest)
        else:
            self.allocated = self._allocator.peak

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End it with the run."""
        self._open.close()


def _standing(module: nn.Module) -> list[Tensor]:
    """Return the tensors of a module that are there between its steps, those of a running teacher too."""
    return [*_weights(module), *_teachers(module)]


def _weights(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _teachers(module: nn.Module) -> Iterator[Tensor]:
    teacher = getattr(module, "teacher", None)
    for model in teacher.models if isinstance(teacher, Teacher) else ():
        yield from _weights(model)


def _gradients(module: nn.Module) -> list[Tensor]:
    return [each.grad for each in module.parameters() if each.grad is not None]


def _states(trainer: Any) -> list[Tensor]:
    device = trainer.lightning_module.device.type
    every = (tensor for optimizer in trainer.optimizers for tensor in tensors_in(optimizer.state))
    return [tensor for tensor in every if tensor.device.type == device]


def batches_a_step(trainer: Any) -> int:
    """Return how many batches accumulate gradients for a step of the optimizer."""
    return min(int(trainer.accumulate_grad_batches), int(trainer.num_training_batches))
