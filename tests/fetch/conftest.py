import pytest

from tests.fetch.toys import Toys


@pytest.fixture
def toys(tmp_path, monkeypatch):
    return Toys(tmp_path / "toys", monkeypatch)
