"""Whoever writes a store, and however often they are killed, it ends as the same files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdmm.distributed import all_reduce_sum, rank
from kdmm.errors import InputError
from kdmm.runs import caching
from kdmm.runs.quiet import quiet
from kdmm.teachers import Cached
from kdmm.teachers.cache.settings import Settings
from tests import two_processes
from tests.data.files import Held, pairs
from tests.teachers.cache.small import data, files, held, shards, teacher, write, writer

FOLDER = "KDMM_TEST_FOLDER"
MOST_S = 300  # of the kills, on a machine that is busy


class Killed(BaseException):
    """Stands in for a kill."""


def test_a_store_is_a_few_files_without_a_trace_of_its_writing(tmp_path):
    store = write(tmp_path, teacher(), data(held()), shard_rows=1000)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "manifest.json",
        "plan.json",
        "samples.train.safetensors",
        "samples.val.safetensors",
        "teacher.image.index.safetensors",
        "teacher.image.train.00000.safetensors",
        "teacher.image.val.00000.safetensors",
        "teacher.text.00000.safetensors",
        "teacher.text.index.safetensors",
    ]
    assert {name: len(table) for name, table in store.tables.items()} == {
        "teacher.image": 9 * 3 + 3,
        "teacher.text": 18 + 4 + 3,
    }


def test_a_caption_of_several_samples_is_stored_once(tmp_path):
    twins = [*pairs(3), *(type(each)(f"twin {each.id}", each.image, each.captions) for each in pairs(3))]
    store = write(tmp_path, teacher(), data(Held(train=twins, val=pairs(3))))
    assert {name: len(table) for name, table in store.tables.items()} == {
        "teacher.image": 6 * 3 + 3,
        "teacher.text": 3,
    }


def test_a_stop_at_any_write_is_gone_on_from(tmp_path, monkeypatch):
    source, how = data(shards(tmp_path / "data")), {"batch_size": 8, "shard_rows": 16}
    write(tmp_path / "whole", teacher(), source, **how)
    expected = files(tmp_path / "whole")
    real, calls = Path.replace, []
    stop = 0

    def replace(path, target):
        calls.append(target)
        if len(calls) == stop:
            raise Killed
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    writes = 0
    while True:
        stop, folder = writes + 1, tmp_path / f"stopped {writes}"
        calls.clear()
        try:
            write(folder, teacher(), source, **how)
        except Killed:
            writes += 1
            assert not (folder / "manifest.json").exists()
            assert not list(folder.glob("*.partial"))
            calls.clear()
            stop = 0
            write(folder, teacher(), source, **how)
            assert files(folder) == expected
        else:
            break
    shard_files = [name for name in expected if name.endswith(".safetensors")]
    assert writes >= len(shard_files) + 2  # every file and the notes


def test_a_finished_store_is_left_as_it_is(tmp_path):
    source = data(held())
    write(tmp_path, teacher(), source)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("teacher*0.safetensors")}
    work = writer(tmp_path, teacher(), source)
    assert len(work) == 0
    assert list(work) == []
    write(tmp_path, teacher(), source)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("teacher*0.safetensors")} == before


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path):
    write(tmp_path / "whole", teacher(), data(held()))
    work = writer(tmp_path / "store", teacher(), data(held()))
    work.begin()
    (tmp_path / "store" / "teacher.image.train.00000.safetensors.123.partial").write_bytes(b"half")
    write(tmp_path / "store", teacher(), data(held()))
    assert files(tmp_path / "store") == files(tmp_path / "whole")


def some_ranks_idle(folder):
    """Write stores under Lightning, of which a rank has nothing to write; return what each rank is told of."""
    os.environ |= {"LOCAL_RANK": str(rank()), "NODE_RANK": "0"}  # these processes are the ranks
    trainer = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "enable_progress_bar": False}
    sizes = []
    for name, shard_rows, lost in (("one shard", 1000, ()), ("several", 8, ("train.00001", "train.00000"))):
        how, here = Settings(formats={"": "float32"}, batch_size=4, shard_rows=shard_rows), folder / name
        with quiet():
            sizes.append(caching.write(teacher(), data(held()), here, how, trainer).size_bytes)
            for each in lost:
                if rank() == 0:
                    (here / f"teacher.image.{each}.safetensors").unlink()
                all_reduce_sum(torch.zeros(1))
                caching.write(teacher(), data(held()), here, how, trainer)
    return sizes


def on_two_ranks():
    folder = Path(os.environ[FOLDER])
    source = data(held())
    work = writer(folder, teacher(), source)
    if rank() == 0:
        work.begin()
    all_reduce_sum(torch.zeros(1))
    written = {item["file"] for item in work}
    for item in work:
        work.step(item)
    work.end()
    all_reduce_sum(torch.zeros(1))
    if rank() == 0:
        work.finish()
    all_reduce_sum(torch.zeros(1))
    more = data({**held(), "pairs": Held(train=pairs(14, captions=2), val=pairs(3, 30))})
    Cached(str(folder), teacher(), fill="online").prepare(more, ("train", "val"))
    added = sorted(path.name for path in folder.glob("added-*/*.safetensors"))
    if rank() == 0:
        path = folder / "teacher.image.train.00000.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    all_reduce_sum(torch.zeros(1))
    try:
        Cached(str(folder)).prepare(source, ("train", "val"))
        refused = ""
    except InputError as error:
        refused = str(error)
    idle = some_ranks_idle(folder.with_name("idle"))
    return {"written": sorted(written), "added": added, "refused": refused, "idle": idle}


def test_two_ranks_write_what_one_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path / "two"))
    first, second = two_processes.run(on_two_ranks, tmp_path)
    source = data(held())
    write(tmp_path / "one", teacher(), source)
    ours, theirs = files(tmp_path / "one"), files(tmp_path / "two")
    damaged = "teacher.image.train.00000.safetensors"
    assert {n: x for n, x in ours.items() if n != damaged} == {n: x for n, x in theirs.items() if n != damaged}
    assert not set(first["written"]) & set(second["written"])
    assert {name for name in ours if name.startswith("teacher") and "index" not in name} == {
        *first["written"],
        *second["written"],
    }
    assert first["written"]
    assert second["written"]
    assert first["added"] == second["added"]
    assert any(name.startswith("teacher.image.train") for name in first["added"])
    messages = sorted((first["refused"], second["refused"]))
    assert any(f"{damaged} is damaged" in each for each in messages)
    assert any("another process" in each for each in messages)
    write(tmp_path / "one shard", teacher(), source, shard_rows=1000)
    assert files(tmp_path / "idle" / "one shard") == files(tmp_path / "one shard")
    assert files(tmp_path / "idle" / "several") == ours
    assert first["idle"] == second["idle"]


@pytest.mark.slow
def test_a_writer_that_is_killed_twenty_times_ends_as_one_that_is_not(tmp_path):
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "20"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 20
    assert all(each["equal"] for each in found)
    killed = [each for each in found if each["killed"]]
    assert len(killed) >= 10  # the others were too fast
    assert len({each["files"] for each in killed}) >= 4  # at several stages
