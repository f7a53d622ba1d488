"""Losses compute in float32 or better, whatever precision the models run in."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

__all__ = ["full_precision"]

P = ParamSpec("P")


def full_precision(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Make a loss compute outside autocast, in the widest type among its floating-point tensors and float32.

    A KL of 1.2e-3 over 50,000 classes loses 40 % of its value in bfloat16, and squared sums overflow in float16; so
    half precision is widened on entry. float64 stays float64, which numerical gradient checks need.

    Args:
        function: takes at least one floating-point tensor, directly as an argument.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        floats = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point()]
        dtype = functools.reduce(torch.promote_types, (x.dtype for x in floats), torch.float32)

        def widened(x: Any) -> Any:
            return x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x

        with torch.autocast(floats[0].device.type, enabled=False):
            return function(*map(widened, args), **{name: widened(x) for name, x in kwargs.items()})

    return wrapped
