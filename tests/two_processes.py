"""Run a function in two processes joined by gloo, as ranks 0 and 1 of a process group.

    results = run(function, tmp_path)     # [what rank 0 returned, what rank 1 returned]

A run costs some seconds (each process imports torch), so let one function compute everything a test file asks for, in a
fixture of module scope. The function takes no arguments, sits at the top level of a module under tests/, and returns
tensors, numbers and strings in dicts and lists. Shapes are checked in the processes too.
"""

import datetime
import importlib
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORLD_SIZE = 2
TESTS = Path(__file__).parent
TIMEOUT_S = 120


def run(function: Callable[[], Any], folder: Path) -> list[Any]:
    # Plain processes instead of torch.multiprocessing.spawn: they find `tests` by path, where another installed package
    # of that name hides it, and do not import pytest once more.
    command = [sys.executable, __file__, function.__module__, function.__name__, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [*command, str(rank)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(WORLD_SIZE)
    ]
    try:
        outputs = [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for rank, (process, output) in enumerate(zip(processes, outputs, strict=True)):
        assert process.returncode == 0, f"rank {rank} ended with {process.returncode}:\n{output}"
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(WORLD_SIZE)]


def _work(module: str, function: str, folder: Path, rank: int) -> None:
    from jaxtyping import install_import_hook

    package = types.ModuleType("tests")
    package.__path__ = [str(TESTS)]
    sys.modules["tests"] = package
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=WORLD_SIZE,
        timeout=datetime.timedelta(seconds=30),
    )
    with install_import_hook("kdmm", "beartype.beartype"):
        result = getattr(importlib.import_module(module), function)()
    torch.save(result, folder / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _work(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
