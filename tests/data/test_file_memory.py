import os
import shutil
import sqlite3
import time

import pytest

from kdmm.data import file_memory
from kdmm.data.file_memory import FileMemory
from kdmm.data.files import BLOCK_BYTES, WHOLE_BYTES, identity_of

OLD_S = 1_000_000_000


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(file_memory, "EVERY_S", 0.0)
    monkeypatch.setattr(file_memory, "SETTLED_NS", -1)


def counted(memory, path, value="found"):
    """The fact, and how often it was found out."""
    calls = []
    return memory.get(str(path), "kind", lambda: calls.append(1) or value), len(calls)


def test_what_was_found_out_is_remembered_by_other_processes(tmp_path):
    path = tmp_path / "a"
    path.write_text("content")
    memory = FileMemory(tmp_path / "memory" / "files.sqlite")
    assert counted(memory, path) == ("found", 1)
    assert counted(memory, path, "other") == ("found", 0)
    assert counted(FileMemory(memory.path), path, "other") == ("found", 0)
    assert counted(FileMemory(memory.path), tmp_path / "memory" / ".." / "a") == ("found", 0)
    assert FileMemory(memory.path).get(str(path), "another kind", lambda: "other") == "other"


@pytest.mark.parametrize("change", ["content", "time of writing", "kept time of writing"])
def test_a_changed_file_is_looked_at_again(tmp_path, change):
    path = tmp_path / "a"
    path.write_text("content")
    os.utime(path, (OLD_S, OLD_S))
    memory = FileMemory(tmp_path / "files.sqlite")
    counted(memory, path)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    if change == "content":
        path.write_text("longer content")
    elif change == "kept time of writing":  # as rsync does
        path.write_text("CONTENT")
    os.utime(path, (OLD_S, OLD_S + (change == "time of writing")))
    assert counted(memory, path, "new") == ("new", 1)
    assert counted(FileMemory(memory.path), path) == ("new", 0)


def test_a_young_file_is_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(file_memory, "SETTLED_NS", 60 * 10**9)
    (tmp_path / "a").write_text("content")
    memory = FileMemory(tmp_path / "files.sqlite")
    assert [counted(memory, tmp_path / "a")[1] for _ in range(2)] == [1, 1]


def test_without_a_file_that_can_be_used_everything_is_found_out_anew(tmp_path):
    (tmp_path / "a").write_text("content")
    (tmp_path / "file").write_text("")
    for place in (None, tmp_path / "file" / "files.sqlite", tmp_path):
        memory = FileMemory(place)
        assert [counted(memory, tmp_path / "a") for _ in range(2)] == [("found", 1)] * 2
    damaged = tmp_path / "files.sqlite"
    damaged.write_bytes(b"no database" * 100)
    assert counted(FileMemory(damaged), tmp_path / "a") == ("found", 1)
    assert counted(FileMemory(damaged), tmp_path / "a") == ("found", 1)  # the damaged file is gone
    assert counted(FileMemory(damaged), tmp_path / "a") == ("found", 0)


def test_it_grows_while_others_write(tmp_path):
    paths = [tmp_path / str(n) for n in range(4)]
    memories = [FileMemory(tmp_path / "files.sqlite") for _ in range(2)]
    for number, path in enumerate(paths):
        path.write_text("content")
        assert counted(memories[number % 2], path, str(number)) == (str(number), 1)
    assert [counted(memories[0], path) for path in paths] == [(str(n), 0) for n in range(4)]
    with sqlite3.connect(tmp_path / "files.sqlite") as disk:
        assert disk.execute("SELECT count(*) FROM facts").fetchone() == (4,)
    disk.close()


def test_the_identity_of_a_file_is_that_of_its_content(tmp_path, monkeypatch):
    monkeypatch.setenv("KDMM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 1000)
    before = identity_of(str(path), None)
    assert before == identity_of("elsewhere", path.read_bytes())
    copy = str(shutil.copy(path, tmp_path / "b"))
    os.utime(copy, (OLD_S, OLD_S))
    assert identity_of(copy, None) == identity_of(copy, None) == before
    content = bytearray(path.read_bytes())
    content[77_777] ^= 1
    path.write_bytes(content)
    assert identity_of(str(path), None) != before
    assert (tmp_path / "cache" / file_memory.FILE).is_file()


@pytest.mark.parametrize(
    ("place", "told"), [(0, True), (WHOLE_BYTES + 4, True), (BLOCK_BYTES, False), (WHOLE_BYTES // 2, False)]
)
def test_of_a_large_file_blocks_at_equal_distances_count(tmp_path, place, told):
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(WHOLE_BYTES + 5)
    before = identity_of(str(path), None)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"x")
    assert (identity_of(str(path), None) != before) == told
    with path.open("ab") as file:
        file.write(bytes(1))
    assert identity_of(str(path), None).startswith(f"{WHOLE_BYTES + 6} ")
