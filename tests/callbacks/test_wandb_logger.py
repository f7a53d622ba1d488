"""wandb without a key and without a network: an offline run, never a question."""

import time

import pytest
import wandb

import kdmm
from kdmm.callbacks import wandb_logger
from tests.small_runs import experiment, folder_with_a_teacher

here = pytest.fixture(folder_with_a_teacher)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))


def with_wandb(name, **settings):
    tree = experiment(name, logger={"wandb": {"_target_": "kdmm.callbacks.Wandb", **settings}})
    tree["callbacks"] = {"found": {"_target_": "kdmm.callbacks.RetrievedExamples", "captions": 3, "k": 2}}
    tree["trainer"] = {**tree["trainer"], "max_epochs": 1}
    return tree


def test_a_key_is_found_where_wandb_looks(monkeypatch, tmp_path):
    assert not wandb_logger.has_key()
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert wandb_logger.has_key()
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert wandb_logger.has_key()


def test_without_a_key_a_run_is_logged_offline(here):
    run = kdmm.fit(with_wandb("tracked"))
    (offline,) = (run.dir / "wandb").glob("offline-run-*")
    (record,) = offline.glob("run-*.wandb")
    content = record.read_bytes()
    for written in (b"train/hard", b"train/weight/image", b"val/recall@5", b"val/retrieved"):
        assert written in content, written
    assert b"kdmm.losses.FeatureMatch" in content  # the configuration
    assert b"student.safetensors" in content  # the artifact
    assert len(list(offline.glob("files/media/table/val/*.json"))) == 1
    staged = {path.stat().st_size for path in (here / "staged").glob("**/*") if path.is_file()}  # for `wandb sync`
    assert (run.dir / "student.safetensors").stat().st_size in staged
    assert len(staged) > 1  # and pictures
    assert not (here / "wandb").exists()


@pytest.mark.slow
def test_with_a_key_and_no_network_a_run_goes_on_offline(here, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    wandb.teardown()  # it reads its settings once in a process
    began = time.monotonic()
    with pytest.warns(UserWarning, match="wandb did not answer.*logged offline"):
        run = kdmm.fit(with_wandb("tracked", timeout_s=5.0))
    assert time.monotonic() - began < 60
    assert list((run.dir / "wandb").glob("offline-run-*/run-*.wandb"))
    wandb.teardown()
