"""What of the benches needs no measuring: their variants, clocks and ranges."""

import subprocess
import sys
import time
from collections import Counter

import pytest
import torch

from kdmm import config
from kdmm.runs.build import build
from kdmm.runs.quiet import quiet
from kdmm.runs.step_times import measure_steps
from tests.bench import device, peer, step
from tests.bench.__main__ import BENCHES
from tests.bench.profile import PARTS, STEP, Ranges
from tests.small_runs import experiment, folder_with_a_teacher

folder = pytest.fixture(folder_with_a_teacher)
COMPILED = {"alone, compiled", "teacher stored, compiled", "teacher running, compiled"}


@pytest.mark.parametrize("cuda", [False, True])
def test_variants_are_compiled_and_in_mixed_precision_on_a_gpu_alone(tmp_path, monkeypatch, cuda):
    monkeypatch.setattr(step, "CUDA", cuda)
    if cuda:
        monkeypatch.setattr(step, "TRAINER", device.trainer(True))
    found = step.variants(tmp_path)
    assert {name for name, (_, compiled) in found.items() if compiled} == (COMPILED if cuda else set())
    settings = {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed"} if cuda else {"accelerator": "cpu"}
    for tree, _ in found.values():
        assert tree["trainer"] == {**settings, "max_epochs": 1}
        config.load(tree, [], ())  # is an experiment


def test_a_gpu_is_waited_for_and_its_memory_begins_anew(monkeypatch):
    said, bytes_held = [], {"now": 3 * 2**20, "peak": 9 * 2**20}
    monkeypatch.setattr(device, "CUDA", True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: said.append("waits"))

    def forget():
        said.append("forgets")
        bytes_held["peak"] = bytes_held["now"]

    def work():
        said.append("works")
        bytes_held["peak"] += 2**20

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forget)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: bytes_held["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: bytes_held["peak"])
    assert device.peak_mib(work) == 1
    assert said == ["waits", "forgets", "works", "waits"]
    device.now()
    assert said[-1] == "waits"
    assert len(said) == 5


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a process's memory is read from /proc")
def test_the_memory_of_the_process_is_that_of_what_it_makes():
    assert device.peak_mib(lambda: torch.ones(64 * 2**18).sum()) == pytest.approx(64, abs=8)


def test_a_program_that_is_watched_runs_as_itself_and_leaves_its_peak(tmp_path, monkeypatch):
    monkeypatch.setattr(peer, "CUDA", True)
    (tmp_path / "torch.py").write_text("class cuda:\n    max_memory_allocated = staticmethod(lambda: 5)\n")
    (tmp_path / "said.py").write_text(
        "import sys\nif __name__ == '__main__':\n    print(*sys.argv[1:])\n    sys.exit(3)\n", encoding="utf-8"
    )
    done = subprocess.run(peer.called("said", "--one", "2"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "--one 2\n")
    assert (tmp_path / peer.PEAK).read_text() == "5"
    monkeypatch.setattr(peer, "CUDA", False)
    assert peer.called("said", "--one") == [sys.executable, "-m", "said", "--one"]


class Clocked(Ranges):
    """Reads a clock just outside and just inside of the ends of each range."""

    def __init__(self, steps):
        super().__init__(steps)
        self.outside, self.inside, self.began = Counter(), Counter(), {}

    def _begin(self, name):
        before = time.perf_counter()
        super()._begin(name)
        self.began[name] = (before, time.perf_counter())

    def _end(self, name):
        is_open, ended = name in self.open, time.perf_counter()
        super()._end(name)
        if is_open:
            before, after = self.began[name]
            self.outside[name] += time.perf_counter() - before
            self.inside[name] += ended - after


@pytest.mark.filterwarnings("ignore")  # of the profiler about what the machine lacks
def test_the_parts_of_a_profiled_step_are_those_of_the_clock(folder):
    steps, ranges = 3, Clocked(3)
    settings = config.load({**experiment(), "trainer": {"accelerator": "cpu", "max_epochs": 3}}, [], ())
    with quiet():
        measure_steps(settings, *build(settings, ()), steps, (), [ranges])
    found = ranges.seconds()
    assert ranges.outside.keys() == {STEP, *PARTS}
    for name in ranges.outside:
        assert 0 < ranges.inside[name] / steps <= found[name] <= ranges.outside[name] / steps
    assert found["other"] == pytest.approx(found[STEP] - sum(found[part] for part in PARTS))
    assert found["other"] >= 0
    shares = [share for _, share in ranges.operations()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1


def test_every_bench_can_be_named():
    assert all(callable(main) for main in BENCHES.values())
    assert {"compiled", "profile"} <= BENCHES.keys()
