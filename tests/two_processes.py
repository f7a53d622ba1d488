"""Run a function in two processes joined by gloo, as ranks 0 and 1 of a process group.

    results = run(function, tmp_path)     # [what rank 0 returned, what rank 1 returned]

The function takes no arguments, sits at the top level of a module under tests/, and returns tensors, numbers and
strings in dicts and lists. Shapes are checked in the processes too.

Importing torch and kdmm takes seconds, so one server a test process imports them once, and becomes two for each call.
It runs by itself instead of by torch.multiprocessing.spawn: it finds `tests` by path, where another installed package
of that name hides it, and does not import pytest once more.
"""

import atexit
import contextlib
import datetime
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NoReturn

import torch

WORLD_SIZE = 2
TESTS = Path(__file__).parent
TIMEOUT_S = 120
OUTPUT = "output.txt"


def run(function: Callable[[], Any], folder: Path) -> list[Any]:
    """Return what each rank returned, as if its process had been started here and now."""
    request = {
        "module": function.__module__,
        "function": function.__name__,
        "folder": str(folder),
        "cwd": str(Path.cwd()),
        "environ": {**os.environ, "OMP_NUM_THREADS": "1"},
    }
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{json.dumps(request)}\n")
    server.stdin.flush()
    in_time, _, _ = select.select([server.stdout], [], [], TIMEOUT_S)
    answer = server.stdout.readline().strip() if in_time else f"no answer in {TIMEOUT_S} s"
    if not answer.isdecimal():  # it hangs, or is gone
        _stop(server)
        _server.cache_clear()
    output = folder / OUTPUT
    assert answer == "0", f"the ranks ended with {answer}:\n{output.read_text() if output.exists() else ''}"
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(WORLD_SIZE)]


@lru_cache(maxsize=1)
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, __file__],
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # also because threads would not outlive the fork
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    atexit.register(_stop, server)
    return server


def _stop(server: subprocess.Popen[str]) -> None:
    with server, contextlib.suppress(ProcessLookupError):  # none is left
        os.killpg(server.pid, signal.SIGKILL)


def _serve(requests: IO[str]) -> None:
    """Answer each request with how the ranks ended, until there is nobody to ask."""
    from jaxtyping import install_import_hook

    package = types.ModuleType("tests")
    package.__path__ = [str(TESTS)]
    sys.modules["tests"] = package
    with install_import_hook("kdmm", "beartype.beartype"):
        for line in requests:
            request = json.loads(line)
            with (Path(request["folder"]) / OUTPUT).open("a") as output:
                print(_ranks(request, output), flush=True)


def _ranks(request: Mapping[str, Any], output: IO[str]) -> int:
    """Run two copies of this process, and return the worse of how they ended."""
    try:
        work = getattr(importlib.import_module(request["module"]), request["function"])
    except BaseException:
        traceback.print_exc(file=output)
        return 1
    children = []
    for rank in range(WORLD_SIZE):
        child = os.fork()
        if child == 0:
            _work(work, request, rank, output)
        children.append(child)
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children)


def _work(function: Callable[[], Any], request: Mapping[str, Any], rank: int, output: IO[str]) -> NoReturn:
    code = 1
    try:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
        os.environ.clear()
        os.environ.update(request["environ"])
        os.chdir(request["cwd"])
        folder = Path(request["folder"])
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder / 'rendezvous'}",
            rank=rank,
            world_size=WORLD_SIZE,
            timeout=datetime.timedelta(seconds=30),
        )
        torch.distributed.barrier()  # a rank that leaves at once would break off the other's connecting
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
    _serve(sys.stdin)
