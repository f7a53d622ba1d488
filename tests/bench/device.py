"""Where the benches run, a CUDA device if there is one, and what a clock and memory are there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
PAGE = 4096  # bytes, in /proc/self/statm


def trainer(cuda: bool) -> dict[str, Any]:
    """Return the settings of a Trainer: on a GPU in mixed precision."""
    return {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed"} if cuda else {"accelerator": "cpu"}


TRAINER = trainer(CUDA)


def now() -> float:
    """Return the seconds on the clock when the device has done all that it was given."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def mixed() -> contextlib.AbstractContextManager[Any]:
    """Return the context of a step in the precision of `TRAINER`."""
    return torch.autocast("cuda", torch.bfloat16) if CUDA else contextlib.nullcontext()


def place() -> str:
    return f"on {torch.cuda.get_device_name()}" if CUDA else "on the CPU"


def peak_mib(work: Callable[[], object]) -> float:
    """Return what the device, or the process without one, holds at most during ``work`` beyond what it held, MiB."""
    return (_of_device(work) if CUDA else _of_process(work)) / 2**20


def _of_device(work: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _of_process(work: Callable[[], object]) -> int:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    before, most, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.0005):
            most[0] = max(most[0], resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most[0]
