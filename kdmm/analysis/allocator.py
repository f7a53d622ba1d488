"""The peak of memory as PyTorch's own allocator counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from kdmm.analysis.memory import bytes_of

__all__ = ["AllocatorPeak"]

LOG_LEVEL = "KINETO_LOG_LEVEL"  # the profiler's, which tells of itself otherwise


class AllocatorPeak:
    """Measures the peak of allocated bytes inside a ``with``: on a GPU all of them, on a CPU from what is there.

    On a CPU the profiler tells of each block that is given and freed. What was there before and is freed inside counts
    to the end.

    Args:
        device: whose memory it is.
        there: tensors that are alive before.
    """

    peak: float

    def __init__(self, device: torch.device, there: Iterable[Tensor]) -> None:
        self.device = device
        self._there = list(there)  # kept, since the profiler warns of blocks that it did not see given

    def __enter__(self) -> AllocatorPeak:
        """Begin."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return self
        before = os.environ.get(LOG_LEVEL)
        os.environ[LOG_LEVEL] = "99"
        try:
            self._profiler = torch.autograd.profiler.profile(use_kineto=False, profile_memory=True)
            self._profiler.__enter__()  # type: ignore[no-untyped-call]  # torch's own
        finally:
            if before is None:
                del os.environ[LOG_LEVEL]
            else:
                os.environ[LOG_LEVEL] = before
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        if self.device.type == "cuda":
            self.peak = float(torch.cuda.max_memory_allocated(self.device))
            return
        self._profiler.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]  # torch's own
        found = self._profiler.kineto_results
        assert found is not None
        events: list[Any] = sorted(found.events(), key=lambda each: each.start_ns())
        now = most = 0
        for event in events:
            now += event.nbytes() if event.name() == "[memory]" else 0
            most = max(most, now)
        self.peak = float(bytes_of(self._there) + most)
