"""The tests' own two ranks."""

import os
import signal
from pathlib import Path

import pytest
import torch

from kdmm.distributed import rank
from tests import two_processes


def where_they_are():
    return {
        "rank": rank(),
        "cwd": str(Path.cwd()),
        "told": os.environ["TOLD"],
        "ranks": torch.distributed.get_world_size(),
    }


def one_fails():
    if rank() == 1:
        raise ValueError("rank one cannot")
    return {}


def test_ranks_are_where_the_caller_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for told in ("first", "second"):
        monkeypatch.setenv("TOLD", told)
        folder = tmp_path / told
        folder.mkdir()
        found = two_processes.run(where_they_are, folder)
        assert found == [{"rank": n, "cwd": str(tmp_path), "told": told, "ranks": 2} for n in (0, 1)]


def test_what_a_rank_says_last_is_told_and_the_next_call_works(tmp_path, monkeypatch):
    monkeypatch.setenv("TOLD", "after")
    for name in ("failed", "good"):
        (tmp_path / name).mkdir()
    with pytest.raises(AssertionError, match=r"ended with 1:\n(.|\n)*rank 1:\n(.|\n)*ValueError: rank one cannot"):
        two_processes.run(one_fails, tmp_path / "failed")
    assert two_processes.run(where_they_are, tmp_path / "good")[1]["rank"] == 1


def hangs():
    if rank() == 0:
        signal.pause()
    return {}


def test_ranks_that_hang_are_ended_and_the_next_call_works(tmp_path, monkeypatch):
    monkeypatch.setenv("TOLD", "after")
    monkeypatch.setattr(two_processes, "TIMEOUT_S", 0.5)
    for name in ("hung", "good"):
        (tmp_path / name).mkdir()
    with pytest.raises(AssertionError, match=r"no answer in 0\.5 s"):
        two_processes.run(hangs, tmp_path / "hung")
    monkeypatch.undo()
    monkeypatch.setenv("TOLD", "after")
    assert two_processes.run(where_they_are, tmp_path / "good")[0]["rank"] == 0
