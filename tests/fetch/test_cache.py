import sys
from pathlib import Path

import pytest

from kdmm.errors import InputError
from kdmm.fetch import cache_folder


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("KDMM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "/home/someone/.cache/kdmm"),
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/kdmm"),
        ("linux", {"XDG_CACHE_HOME": "caches"}, "/home/someone/.cache/kdmm"),  # the specification has it ignored
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/someone/.cache/kdmm"),
        ("linux", {"KDMM_CACHE": "/data/kdmm", "XDG_CACHE_HOME": "/caches"}, "/data/kdmm"),
        ("linux", {"KDMM_CACHE": "~/here"}, "/home/someone/here"),
        ("linux", {"KDMM_CACHE": ""}, "/home/someone/.cache/kdmm"),
        ("darwin", {}, "/home/someone/Library/Caches/kdmm"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/kdmm"),
        ("win32", {}, "/home/someone/AppData/Local/kdmm"),
    ],
)
def test_the_cache_is_where_the_environment_says(monkeypatch, platform, variables, expected):
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_a_relative_path_is_one_from_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDMM_CACHE", "here")
    assert cache_folder() == tmp_path / "here"


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(InputError, match="KDMM_CACHE: no folder for the cache is known"):
        cache_folder()
