"""Floating-point operations of a model, for comparisons at equal compute."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kdmm.views import preserved_randomness

__all__ = ["counting", "forward_flops", "training_flops"]


def forward_flops(model: nn.Module, batch_part: Mapping[str, Any]) -> int:
    """Return the operations of one forward pass in evaluation mode.

    Counted are matrix products and convolutions, a multiply-add as two operations; all else is below some per cent in
    models of this kind.

    Args:
        model: any model with ``forward(batch_part) -> Outputs``.
        batch_part: the model's part of a batch; the count is of all its rows.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), counting() as counter:
            model(batch_part)
    finally:
        model.train(training)
    return counter.get_total_flops()


def training_flops(model: nn.Module, batch_part: Mapping[str, Any]) -> int:
    """Return the operations of a forward and a backward pass in training mode.

    Without frozen parts this is about three times the forward pass, and less with them: what needs no gradient has no
    backward pass. The model is copied, so its gradients and running statistics stay as they are.

    Args:
        model: as for :func:`forward_flops`.
        batch_part: as for :func:`forward_flops`.
    """
    copied = copy.deepcopy(model).train()
    with preserved_randomness(), torch.enable_grad(), counting() as counter:
        outputs = copied(batch_part)
        trained = [value.float().sum() for value in outputs.values() if value.requires_grad]
        if trained:
            torch.autograd.backward(trained)
    return counter.get_total_flops()


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count inside; attention and recurrent layers are taken apart into their products: fused ones are not counted."""
    own = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=own)
    with sdpa_kernel(SDPBackend.MATH), _plain_recurrence(), counter:
        yield counter


@contextmanager
def _plain_recurrence() -> Iterator[None]:
    """Keep oneDNN and cuDNN, which compute a recurrent layer as one operation, out of it."""
    backends: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn]
    before = [backend.enabled for backend in backends]
    try:
        for backend in backends:
            backend.enabled = False
        yield
    finally:
        for backend, enabled in zip(backends, before, strict=True):
            backend.enabled = enabled


def _convolution_backward(
    grad_shape: Sequence[int],
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    wanted: Sequence[bool],
    **_: Any,
) -> int:
    """The gradients of input and weight cost one forward pass each.

    PyTorch's own formula leaves groups out of account: it gives the weight of a depthwise convolution as many
    operations as that of a full one.
    """
    places = prod((input_shape if transposed else grad_shape)[2:])
    forward = 2 * grad_shape[0] * places * prod(weight_shape)
    return forward * (wanted[0] + wanted[1])
