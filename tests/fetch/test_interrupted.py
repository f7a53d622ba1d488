"""Processes that are killed half way, and two at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdmm import fetch
from tests.fetch.toys import FILES, files_below

ROOT = Path(__file__).parents[2]
SCRIPT = """
from kdmm.fetch import CATALOGUE, fetch
from tests.fetch.toys import toy
CATALOGUE["toy"] = toy()
print(fetch("toy"))
"""
WAITED_S = 30  # at most, for a process to come to where it halts


def start(toys, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, **toys.environment(**environment)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_when_halted(toys, halts):
    """Fetch in a process, and kill it, not what it started, when the program ``halts`` is half way."""
    process = start(toys, TOY_HALTS=halts)
    until = time.monotonic() + WAITED_S
    while not (toys.folder / "halted").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=WAITED_S)
    return process


def end(process):
    """End what a killed process left running."""
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize(("halts", "downloads"), [("apt-get", 2), ("dpkg-deb", 1)])
def test_after_a_kill_there_is_nothing_and_the_next_call_goes_on(toys, halts, downloads):
    entry = toys.offer()
    killed = kill_when_halted(toys, halts)
    try:
        assert not toys.place.exists()
        assert fetch.present("toy") is None
        lines = []
        place = fetch.fetch("toy", say=lines.append)  # while what the killed process started still runs
    finally:
        end(killed)
    assert files_below(place / entry.content) == FILES
    assert len(toys.calls()) == downloads
    assert ("toy: toy-data was downloaded before" in lines) == (downloads == 1)
    assert toys.left_over() == ["downloads", "fetched", "fetched/toy"]


@pytest.mark.parametrize("delay_s", [0.02, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6])
def test_a_kill_at_any_moment_leaves_nothing_or_the_whole(toys, delay_s):
    entry = toys.offer()
    process = start(toys)
    time.sleep(delay_s)
    process.kill()
    process.communicate()
    if toys.place.exists():
        assert fetch.present("toy").known
        assert files_below(toys.place / entry.content) == FILES
    fetch.fetch("toy", say=lambda line: None)
    assert files_below(toys.place / entry.content) == FILES
    assert toys.left_over() == ["downloads", "fetched", "fetched/toy"]


def test_a_waiting_download_that_was_damaged_is_made_again(toys):
    entry = toys.offer()
    end(kill_when_halted(toys, "dpkg-deb"))
    (archive,) = (toys.cache / "downloads").rglob("*.deb")
    archive.write_bytes(archive.read_bytes()[:-1])
    place = fetch.fetch("toy", say=lambda line: None)
    assert files_below(place / entry.content) == FILES
    assert len(toys.calls()) == 2


def test_of_two_at_once_one_fetches_and_the_other_waits(toys):
    entry = toys.offer()
    both = [start(toys, TOY_SLEEPS="1") for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [out for out, _ in said] == [f"{toys.place}\n"] * 2
    assert len(toys.calls()) == 1
    assert files_below(toys.place / entry.content) == FILES
    waited = [err for _, err in said if "another process is fetching it; waiting" in err]
    assert len(waited) == 1
    assert waited[0].endswith("toy: it is there, and its files are as they were fetched\n")
    assert toys.left_over() == ["downloads", "fetched", "fetched/toy"]
