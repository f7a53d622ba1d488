"""Bytes of tensors: of those that are there, and of those that operations make while they are alive."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # where PyTorch keeps the base of its own counters

__all__ = ["LiveBytes", "bytes_of", "tensors_in"]


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts the bytes of the tensors that are alive on a device, each storage once, inside a ``with``.

    It sees what PyTorch's operations return, forward and backward, whatever keeps it alive: autograd, an optimizer, a
    model. What a kernel takes for itself while it runs, and what an allocator holds back, is not seen.

    Args:
        device: whose tensors count.
        there: tensors that are alive before.
    """

    def __init__(self, device: torch.device, there: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.device = device
        self.now = 0
        self.peak = 0
        self._seen: set[int] = set()
        self._see(there)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what it returns."""
        made = func(*args, **(kwargs or {}))
        self._see(tensors_in(made))
        return made

    def _see(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            if tensor.device.type != self.device.type or tensor.layout is not torch.strided:
                continue
            storage = tensor.untyped_storage()
            name, size = storage._cdata, storage.nbytes()
            if name not in self._seen:
                self._seen.add(name)
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, name, size).atexit = False

    def _gone(self, name: int, size: int) -> None:
        self._seen.discard(name)
        self.now -= size


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors, each storage once."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested mappings and sequences."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from tensors_in(each)
