"""Kill writers of a store, and let others go on: ``python kills.py FOLDER COUNT``. Prints what came of each.

Each writer is a process of its own, forked from this one, which has imported everything, and killed by SIGKILL at a
random time of its work.
"""

import json
import os
import random
import signal
import sys
import time
import types
from pathlib import Path

TESTS = Path(__file__).parents[2]


def write(folder):
    """Write a store under Lightning in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with quiet():
            how = Settings(formats={"": "float16"}, batch_size=4, shard_rows=8)
            caching.write(teacher(), source, folder, how, {"accelerator": "cpu", "enable_progress_bar": False})
        code = 0
    finally:
        os._exit(code)


def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def undisturbed(folder):
    began = time.monotonic()
    assert wait(write(folder)) == 0
    return time.monotonic() - began


def main(folder, count):
    seconds = sorted(undisturbed(folder / f"whole {n}") for n in range(3))[1]
    expected = files(folder / "whole 0")
    assert files(folder / "whole 1") == expected
    draw = random.Random(0)
    found = []
    for n in range(count):
        here = folder / f"killed {n}"
        child = write(here)
        time.sleep(draw.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        was_killed = wait(child) == -signal.SIGKILL
        left = len(list(here.iterdir())) if here.is_dir() else 0
        assert wait(write(here)) == 0
        found.append({"killed": was_killed, "files": left, "equal": files(here) == expected})
    print(json.dumps(found))


if __name__ == "__main__":
    package = types.ModuleType("tests")  # by its path: another installed package may have the name
    package.__path__ = [str(TESTS)]
    sys.modules["tests"] = package
    from kdmm.runs import caching
    from kdmm.runs.quiet import quiet
    from kdmm.teachers.cache.settings import Settings
    from tests.data.files import Held, pairs, texts
    from tests.teachers.cache.small import data, files, teacher

    source = data({"pairs": Held(train=pairs(30, captions=2), val=pairs(6, 60)), "texts": Held(train=texts(9))})
    main(Path(sys.argv[1]), int(sys.argv[2]))
