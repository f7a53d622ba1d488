"""The student's own past as its teacher."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from kdmm.distributed import all_reduce_sum, world_size
from kdmm.errors import InputError
from kdmm.teachers.teacher import Running
from kdmm.teachers.view_source import ViewSource

__all__ = ["MovingAverage"]


class MovingAverage(Running):
    """The exponential moving average of the student's weights, after each step of its optimizer.

    The mean teacher (Tarvainen & Valpola 2017, https://arxiv.org/abs/1703.01780): ``average = decay * average +
    (1 - decay) * student``. Unlike there, the teacher draws no noise of its own, since no teacher here is in training
    mode, and batch norm's statistics are averaged as the weights are (over all processes).

    The average is in the checkpoints, so that a resumed run is exact, but in no optimizer and not in the run's model
    file: it ends with training, and measuring a finished run measures the student alone.

    Args:
        decay: of the average; it spans about ``1 / (1 - decay)`` steps.
        warmup: let it span all steps so far until they are so many, which forgets the random start: the decay of step
            t is at most ``1 - 1 / t``.

    Raises:
        InputError: a decay outside [0, 1).
    """

    def __init__(self, decay: float | int = 0.999, warmup: bool = True) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise InputError(f"MovingAverage.decay: {decay} given. Give a number of at least 0 and below 1.")
        self.decay = decay
        self.warmup = warmup
        self.steps = 0

    @property
    def outlasts_training(self) -> bool:
        """No."""
        return False

    def attach(self, student: nn.Module) -> None:
        """Begin with the student as it is."""
        self.hold(copy.deepcopy(student))

    def prepare(self, data: ViewSource, splits: Iterable[str]) -> None:
        """Check the precision.

        Raises:
            InputError: weights in half precision, whose average would stand still.
        """
        half = {each.dtype for each in self.model.parameters()} & {torch.float16, torch.bfloat16}
        if half:
            raise InputError(
                f"MovingAverage: the student's weights are {half.pop()}, in which the small steps of an average are "
                "lost. Set `trainer.precision` to 'bf16-mixed' or '16-mixed', which keep the weights in float32."
            )

    @torch.no_grad()
    def after_step(self, student: nn.Module) -> None:
        """Follow the student."""
        self.steps += 1
        decay = min(self.decay, 1 - 1 / self.steps) if self.warmup else self.decay
        ours, theirs = dict(self.model.named_buffers()), dict(student.named_buffers())
        floating = [name for name, buffer in theirs.items() if buffer.is_floating_point()]
        for name in theirs.keys() - set(floating):
            ours[name].copy_(theirs[name])
        get_ema_multi_avg_fn(decay)(  # type: ignore[no-untyped-call]  # torch's own
            [*self.model.parameters(), *(ours[name] for name in floating)],
            [*student.parameters(), *_means([theirs[name] for name in floating])],
            self.steps,
        )

    def get_extra_state(self) -> dict[str, Any]:
        """Return the average, for a checkpoint."""
        return {"steps": self.steps, "average": self.model.state_dict()}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the average."""
        self.steps = state["steps"]
        self.model.load_state_dict(state["average"])


def _means(buffers: list[Tensor]) -> list[Tensor]:
    """Return the means over all processes, since each has the statistics of its own batches."""
    if world_size() == 1 or not buffers:
        return buffers
    flat = all_reduce_sum(torch.cat([buffer.flatten() for buffer in buffers])) / world_size()
    parts = torch.split(flat, [buffer.numel() for buffer in buffers])
    return [part.view_as(buffer).to(buffer.dtype) for part, buffer in zip(parts, buffers, strict=True)]
