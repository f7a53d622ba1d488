import pytest

from kdmm import atomic


def write_half(path):
    with atomic.writing(path) as partial:
        partial.write_text("ne")
        raise RuntimeError("half way")


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic.writing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_old_file_stands_alone(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError), atomic.writing(tmp_path / "b.json"):
        pass  # nothing was written
    assert list(tmp_path.iterdir()) == [path]
