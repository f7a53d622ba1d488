"""Sharpness-aware minimization, as an optimizer around another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from kdmm.errors import InputError

__all__ = ["SAM"]


class SAM(Optimizer):
    """Steps by the gradient at the worst point nearby: ``w + rho g / |g|`` (SAM, https://arxiv.org/abs/2010.01412).

    A step computes the loss twice, so it takes about twice the time. What is drawn at random (dropout) is drawn anew,
    and batch norm sees the batch twice. Under DDP each process takes the same step, since it moves by gradients that
    are averaged. With ``precision: 16-mixed`` gradient scaling does not know the second pass; take bf16 or float32.

    Args:
        params: parameters or groups of them.
        base: the optimizer that takes the step; in YAML a target with ``_partial_: true``.
        rho: how far the worst point is, in the norm over all parameters.

    Raises:
        InputError: ``rho`` is not above 0.
    """

    def __init__(self, params: Any, base: Callable[..., Optimizer] = AdamW, rho: float = 0.05) -> None:
        if not rho > 0:
            raise InputError(f"SAM.rho: {rho} given; give a number above 0, such as 0.05.")
        self.base = base(params)
        self.rho = rho
        super().__init__(self.base.param_groups, self.base.defaults)
        self.param_groups = self.base.param_groups  # one list: schedules change the rates of both
        self.state = self.base.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step.

        Args:
            closure: computes the loss and its gradients; Lightning gives it.
        """
        assert closure is not None, "SAM computes the loss twice, so it needs the closure"
        with torch.enable_grad():
            loss = closure()
        moved = self._climb()
        with torch.enable_grad():
            closure()
        for parameter, before in moved:
            parameter.copy_(before)
        self.base.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, which is the base optimizer's."""
        self.base.load_state_dict(state_dict)
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def _climb(self) -> list[tuple[Tensor, Tensor]]:
        """Go to the worst point nearby; return the parameters moved with their values before."""
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not moved:
            return []
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in moved]))
        kept = [(p, p.clone()) for p in moved]
        for parameter in moved:
            parameter.add_(parameter.grad * (self.rho / norm.clamp(min=torch.finfo(norm.dtype).tiny)))
        return kept
