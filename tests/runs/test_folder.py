"""Who may write to a run's folder, and what is left of it when something goes wrong."""

from pathlib import Path

import pytest

from kdmm import config as configuration
from kdmm.config import Config
from kdmm.errors import InputError
from kdmm.runs import folder

SETTINGS = Config("mine", data={"a": 1}, module={"b": 2})


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    for name in (*folder.RANKS, "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)


def an_old_run(path: Path) -> dict[str, bytes]:
    (path / "checkpoints").mkdir(parents=True)
    (path / "metrics.json").write_text("old")
    return {each.name: each.read_bytes() for each in path.iterdir() if each.is_file()}


def test_a_free_folder_is_claimed_and_made(tmp_path):
    path = tmp_path / "mine"
    assert folder.claim(path, SETTINGS, resume=False, overwrite=False) is None
    assert not path.exists()
    with folder.opened(path, SETTINGS, overwrite=False):
        assert configuration.load(path / "config.yaml").data == {"a": 1}
    assert {each.name for each in path.iterdir()} == {"config.yaml", "checkpoints"}


def test_a_folder_in_use_is_refused_and_an_empty_one_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    folder.claim(tmp_path / "empty", SETTINGS, resume=False, overwrite=False)
    an_old_run(tmp_path / "mine")
    with pytest.raises(InputError, match=r"mine exists. Go on with it by --resume"):
        folder.claim(tmp_path / "mine", SETTINGS, resume=False, overwrite=False)


def test_a_run_is_resumed_from_its_last_state_with_the_same_settings(tmp_path):
    path = tmp_path / "mine"
    with folder.opened(path, SETTINGS, overwrite=False):
        pass
    assert folder.claim(path, SETTINGS, resume=True, overwrite=False) is None  # no state was saved
    last = path / "checkpoints" / "last.ckpt"
    last.write_bytes(b"state")
    assert folder.claim(path, SETTINGS, resume=True, overwrite=False) == last
    other = Config("mine", data={"a": 3}, module={"b": 2})
    with pytest.raises(InputError, match=r"mine was begun with other settings: data.a differ from its config.yaml"):
        folder.claim(path, other, resume=True, overwrite=False)


@pytest.mark.parametrize("error", [InputError("wrong"), OSError("no space left")])
def test_a_run_that_cannot_begin_leaves_the_old_one(tmp_path, monkeypatch, error):
    path = tmp_path / "mine"
    before = an_old_run(path)
    if isinstance(error, OSError):

        def save(config, target):
            raise error

        monkeypatch.setattr(configuration, "save", save)
    with pytest.raises(type(error)), folder.opened(path, SETTINGS, overwrite=True):
        raise error
    assert {each.name: each.read_bytes() for each in path.iterdir() if each.is_file()} == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_has_begun_replaces_the_old_one_even_if_it_fails(tmp_path):
    path = tmp_path / "mine"
    an_old_run(path)
    with pytest.raises(RuntimeError), folder.opened(path, SETTINGS, overwrite=True):
        raise RuntimeError("crashed")
    assert {each.name for each in path.iterdir()} == {"config.yaml", "checkpoints"}
    (path / "checkpoints" / "last.ckpt").write_bytes(b"state")
    with pytest.raises(InputError), folder.opened(path, SETTINGS, overwrite=False):
        raise InputError("wrong, but there is a state to go on from")
    assert (path / "checkpoints" / "last.ckpt").exists()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("variables", "writes"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "1"}, False),
    ],
)
def test_only_the_first_process_writes(tmp_path, monkeypatch, variables, writes):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with folder.opened(tmp_path / "mine", SETTINGS, overwrite=False):
        assert (tmp_path / "mine").exists() is writes
    an_old_run(tmp_path / "old")
    if not writes:  # the first process has made it already
        folder.claim(tmp_path / "old", SETTINGS, resume=False, overwrite=False)
