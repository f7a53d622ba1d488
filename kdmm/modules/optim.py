"""Parameter groups and learning-rate schedules by the field's defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from kdmm.errors import InputError, nearest

__all__ = ["Optimization", "WarmupCosine", "parameter_groups"]


def parameter_groups(
    module: nn.Module, lr: float, weight_decay: float | int, lr_scale: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Group the trainable parameters: no decay on norms, biases and scales (all of at most one dimension).

    Args:
        module: whose parameters that require gradients are grouped.
        lr: learning rate.
        weight_decay: of the parameters of two dimensions and more.
        lr_scale: factors on the learning rate by the beginning of a parameter's name: inherited weights are often
            trained slower. The longest beginning that fits counts.

    Raises:
        InputError: a beginning that fits no parameter.
    """
    scales = dict(lr_scale or {})
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    for prefix in scales:
        if not any(name.startswith(prefix) for name in names):
            raise InputError(
                f"lr_scale: no trained parameter's name begins with {prefix!r}."
                + nearest(prefix, {name.rsplit(".", 1)[0] for name in names})
            )
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            fitting = [prefix for prefix in scales if name.startswith(prefix)]
            scale = scales[max(fitting, key=len)] if fitting else 1.0
            groups.setdefault((scale, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": lr * scale, "weight_decay": weight_decay if decays else 0.0}
        for (scale, decays), parameters in groups.items()
    ]


class WarmupCosine:
    """Linear warm-up from zero, then a cosine to ``final`` of the learning rate, by optimizer steps.

    SGDR's cosine (https://arxiv.org/abs/1608.03983) without restarts.

    Args:
        warmup_steps: steps of the warm-up.
        final: the last step's factor on the learning rate.
    """

    def __init__(self, warmup_steps: int = 0, final: float = 0.0) -> None:
        self.warmup_steps = warmup_steps
        self.final = final

    def factor(self, step: int, steps: int) -> float:
        """Return the factor on the learning rate at ``step`` of ``steps``."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        along = min(1.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * along))

    def __call__(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """Attach the schedule.

        Raises:
            InputError: the warm-up is longer than the run.
        """
        if self.warmup_steps >= steps:
            raise InputError(
                f"schedule.warmup_steps: {self.warmup_steps} steps of warm-up, but the run has {steps} steps. "
                "Shorten the warm-up or train longer."
            )
        factor: Callable[[int], float] = lambda step: self.factor(step, steps)  # noqa: E731  typed for LambdaLR
        return LambdaLR(optimizer, factor)


class Optimization:
    """An optimizer, the schedule of its learning rate, and what is trained slower.

    Args:
        optimizer: called with parameter groups; in YAML a target with ``_partial_: true``.
        schedule: of the learning rate, by steps; ``None`` keeps it constant.
        lr_scale: factors on the learning rate by the beginning of a parameter's name, as in :func:`parameter_groups`.
    """

    def __init__(
        self,
        optimizer: Callable[..., Optimizer] = AdamW,
        schedule: WarmupCosine | None = None,
        lr_scale: Mapping[str, float] | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.schedule = schedule
        self.lr_scale = lr_scale

    def configure(self, module: nn.Module, steps: int) -> dict[str, Any]:
        """Return what ``LightningModule.configure_optimizers`` returns, for a run of ``steps`` steps."""
        defaults = self.optimizer([nn.Parameter(torch.zeros(1))]).defaults
        groups = parameter_groups(module, defaults["lr"], defaults.get("weight_decay", 0.0), self.lr_scale)
        configured: dict[str, Any] = {"optimizer": self.optimizer(groups)}
        if self.schedule is not None:
            scheduler = self.schedule(configured["optimizer"], steps)
            configured["lr_scheduler"] = {"scheduler": scheduler, "interval": "step"}
        return configured
