"""Run a function in two processes joined by gloo, as ranks 0 and 1 of a process group.

    results = run(function, tmp_path)     # [what rank 0 returned, what rank 1 returned]

A run costs some seconds (it imports torch, once for both), so let one function compute everything a test file asks for,
in a fixture of module scope. The function takes no arguments, sits at the top level of a module under tests/, and
returns tensors, numbers and strings in dicts and lists. Shapes are checked in the processes too.
"""

import contextlib
import datetime
import importlib
import os
import signal
import subprocess
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

WORLD_SIZE = 2
TESTS = Path(__file__).parent
TIMEOUT_S = 120


def run(function: Callable[[], Any], folder: Path) -> list[Any]:
    # A plain process instead of torch.multiprocessing.spawn: it finds `tests` by path, where another installed package
    # of that name hides it, does not import pytest once more, and imports everything else once, before it becomes two.
    command = [sys.executable, __file__, function.__module__, function.__name__, str(folder)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # also because threads would not outlive the fork
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output = process.communicate(timeout=TIMEOUT_S)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):  # none is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, f"the ranks ended with {process.returncode}:\n{output}"
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(WORLD_SIZE)]


def _fork(module: str, function: str, folder: Path) -> int:
    from jaxtyping import install_import_hook

    package = types.ModuleType("tests")
    package.__path__ = [str(TESTS)]
    sys.modules["tests"] = package
    with install_import_hook("kdmm", "beartype.beartype"):
        work = getattr(importlib.import_module(module), function)
        children = []
        for rank in range(WORLD_SIZE):
            child = os.fork()
            if child == 0:
                _work(work, folder, rank)
            children.append(child)
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children)


def _work(function: Callable[[], Any], folder: Path, rank: int) -> NoReturn:
    code = 1
    try:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder / 'rendezvous'}",
            rank=rank,
            world_size=WORLD_SIZE,
            timeout=datetime.timedelta(seconds=30),
        )
        torch.save(function(), folder / f"rank{rank}.pt")
        torch.distributed.destroy_process_group()
        code = 0
    except BaseException:
        print(f"rank {rank}:")
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the parent's own ending is not ours to repeat


if __name__ == "__main__":
    sys.exit(_fork(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
