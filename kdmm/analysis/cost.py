"""What one training step costs: operations, seconds and memory, found from a single batch."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kdmm.analysis.compute import counting, training_flops
from kdmm.losses import Objective
from kdmm.outputs import Batch, Outputs
from kdmm.views import preserved_randomness

__all__ = ["ModelCost", "ObjectiveCost", "saved_bytes", "seconds_of"]

REPEATS = 3  # after one call that is not counted


@dataclass(frozen=True)
class ModelCost:
    """What a model costs for one batch.

    Args:
        parameters: all of them.
        trained: those that get a gradient.
        forward_flops: of a forward pass, a multiply-add as two.
        training_flops: of a forward and a backward pass.
        forward_s: seconds of a forward pass.
        parameter_bytes: of its tensors.
        saved_bytes: what a forward pass keeps for its backward pass.
    """

    parameters: int
    trained: int
    forward_flops: int
    training_flops: int
    forward_s: float
    parameter_bytes: int
    saved_bytes: int

    @classmethod
    def of_student(cls, model: nn.Module, part: Mapping[str, Any]) -> ModelCost:
        """Count and time a model in training.

        Args:
            model: any model with ``forward(part) -> Outputs``.
            part: its part of a batch.
        """
        copied = copy.deepcopy(model).train()  # whose running statistics may change
        saved = saved_bytes(lambda: copied(part))
        training = training_flops(model, part)
        return replace(cls.of_teacher([model], lambda: model(part)), training_flops=training, saved_bytes=saved)

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
        parameters = [parameter for model in models for parameter in model.parameters()]
        state = [*parameters, *(buffer for model in models for buffer in model.buffers())]
        return cls(
            sum(parameter.numel() for parameter in parameters),
            sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            counter.get_total_flops(),
            counter.get_total_flops(),
            seconds,
            sum(each.numel() * each.element_size() for each in state),
            0,
        )

    @property
    def training_s(self) -> float:
        """Seconds of a forward and a backward pass, if the backward pass reaches as many operations a second."""
        return self.forward_s * self.training_flops / max(self.forward_flops, 1)


@dataclass(frozen=True)
class ObjectiveCost:
    """What the terms cost for one batch, forward and backward to the models' outputs.

    Args:
        flops: matrix products and convolutions alone.
        seconds: of all that they do.
        saved_bytes: kept between the two passes.
    """

    flops: int
    seconds: float
    saved_bytes: int

    @classmethod
    def of(cls, objective: Objective, student: Outputs, teacher: Outputs, batch: Batch) -> ObjectiveCost:
        """Count and time an objective, of a copy whose state stays as it is."""
        copied = copy.deepcopy(objective)

        def forward() -> Tensor:
            own = {name: _leaf(each) for name, each in student.items()}
            loss: Tensor = copied(own, teacher, batch)[0]
            return loss

        def both() -> None:
            loss = forward()
            if loss.requires_grad:
                torch.autograd.backward([loss])

        device = next(iter(student.values())).device
        with preserved_randomness(), torch.enable_grad():
            with counting() as counter:
                both()
            return cls(counter.get_total_flops(), seconds_of(both, device), saved_bytes(forward))


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """Return the median seconds of a call."""
    times = []
    with preserved_randomness():
        for _ in range(1 + REPEATS):
            began = time.perf_counter()
            call()
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def saved_bytes(call: Callable[[], Any]) -> int:
    """Return how many bytes autograd keeps for the backward pass of a call, each storage once; parameters apart."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with preserved_randomness(), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        kept = call()
    del kept  # until here, so that no storage was used twice
    return sum(storages.values())


def _leaf(tensor: Tensor) -> Tensor:
    detached = tensor.detach()
    return detached.requires_grad_() if detached.is_floating_point() else detached


def _device(models: Sequence[nn.Module]) -> torch.device:
    return next((parameter.device for model in models for parameter in model.parameters()), torch.device("cpu"))
