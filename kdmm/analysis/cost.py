"""What the parts of one training step cost: operations and seconds, found from a single batch."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdmm.analysis.compute import counting, training_flops
from kdmm.losses import Objective
from kdmm.outputs import Batch, Outputs
from kdmm.views import preserved_randomness

__all__ = ["ModelCost", "ObjectiveCost", "seconds_of"]

REPEATS = 2  # at least, after one call that is not counted
LEAST_S = 0.5  # of all together: other work of the machine comes between calls that are short


@dataclass(frozen=True)
class ModelCost:
    """What a model costs for one batch.

    Args:
        parameters: all of them.
        trained: those that get a gradient.
        flops: of what it does for the batch, a multiply-add as two.
        seconds: of the same.
    """

    parameters: int
    trained: int
    flops: int
    seconds: float

    @classmethod
    def of_student(cls, model: nn.Module, part: Mapping[str, Any]) -> ModelCost:
        """Count and time a forward and a backward pass in training, of a copy: the model stays as it is.

        Args:
            model: any model with ``forward(part) -> Outputs``.
            part: its part of a batch.
        """
        copied = copy.deepcopy(model).train()

        def both() -> None:
            trained = [value.float().sum() for value in copied(part).values() if value.requires_grad]
            if trained:
                torch.autograd.backward(trained)

        with torch.enable_grad():
            seconds = seconds_of(both, _device([model]))
        return cls(*_sizes([model]), training_flops(model, part), seconds)

    @classmethod
    def of_teacher(cls, models: Sequence[nn.Module], answer: Callable[[], Any]) -> ModelCost:
        """Count and time what only answers.

        Args:
            models: whose parameters they are.
            answer: lets them answer the batch.
        """
        modes = [model.training for model in models]
        try:
            for model in models:
                model.eval()
            with torch.no_grad():
                with counting() as counter:
                    answer()
                seconds = seconds_of(answer, _device(models))
        finally:
            for model, mode in zip(models, modes, strict=True):
                model.train(mode)
        return cls(*_sizes(models), counter.get_total_flops(), seconds)


@dataclass(frozen=True)
class ObjectiveCost:
    """What the terms cost for one batch, forward and backward to the models' outputs.

    Args:
        flops: matrix products and convolutions alone.
        seconds: of all that they do.
    """

    flops: int
    seconds: float

    @classmethod
    def of(cls, objective: Objective, student: Outputs, teacher: Outputs, batch: Batch) -> ObjectiveCost:
        """Count and time an objective, of a copy whose state stays as it is."""
        copied = copy.deepcopy(objective)

        def both() -> None:
            loss: Tensor = copied({name: _leaf(each) for name, each in student.items()}, teacher, batch)[0]
            if loss.requires_grad:
                torch.autograd.backward([loss])

        device = next(iter(student.values())).device
        with preserved_randomness(), torch.enable_grad():
            with counting() as counter:
                both()
            return cls(counter.get_total_flops(), seconds_of(both, device))


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """Return the mean seconds of a call."""
    times: list[float] = []
    with preserved_randomness():
        while len(times) <= REPEATS or sum(times[1:]) < LEAST_S:
            began = time.perf_counter()
            call()
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            times.append(time.perf_counter() - began)
    return statistics.fmean(times[1:])


def _leaf(tensor: Tensor) -> Tensor:
    detached = tensor.detach()
    return detached.requires_grad_() if detached.is_floating_point() else detached


def _device(models: Sequence[nn.Module]) -> torch.device:
    return next((parameter.device for model in models for parameter in model.parameters()), torch.device("cpu"))


def _sizes(models: Sequence[nn.Module]) -> tuple[int, int]:
    parameters = [parameter for model in models for parameter in model.parameters()]
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return sum(each.numel() for each in parameters), sum(each.numel() for each in trained)
