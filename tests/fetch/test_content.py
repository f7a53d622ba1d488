import shutil
import subprocess

import pytest

from kdmm.fetch.content import checksum
from tests.fetch.toys import FILES, expected_checksum


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_the_checksum_is_that_of_the_sorted_list(folder):
    assert checksum(folder) == expected_checksum(FILES)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_other_programs_compute_the_same(folder):
    command = r"find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert checksum(folder) == done.stdout.split()[0]


def test_every_change_of_a_file_changes_it(folder):
    before = checksum(folder)
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("nowhere")
    assert checksum(folder) == before
    (folder / "b.txt").rename(folder / "c.txt")
    renamed = checksum(folder)
    (folder / "c.txt").rename(folder / "b.txt")
    (folder / "b.txt").write_bytes(b"Second\n")
    changed = checksum(folder)
    (folder / "b.txt").unlink()
    assert len({before, renamed, changed, checksum(folder)}) == 4


def test_files_larger_than_a_block_are_read_whole(tmp_path):
    data = bytes(3 * 2**20 + 1)
    (tmp_path / "large").write_bytes(data)
    assert checksum(tmp_path) == expected_checksum({"large": data})
