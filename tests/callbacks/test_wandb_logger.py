"""wandb without a key and without a network: an offline run, never a question, and nothing outside the run's folder."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb

import kdmm
from kdmm.callbacks import wandb_logger
from kdmm.errors import InterruptedRunError
from tests.hooks import ALLOW, ending
from tests.small_runs import experiment, folder_with_a_teacher

PATIENCE_S = 60  # wandb's own process writes the record, and on a loaded machine it does so after the run has ended

here = pytest.fixture(folder_with_a_teacher)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    monkeypatch.delenv("WANDB_CACHE_DIR", raising=False)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


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
    wanted = (
        *(b"train/hard", b"train/weight/image", b"val/recall@5", b"val/retrieved"),
        b"kdmm.losses.FeatureMatch",  # the configuration
        b"student.safetensors",  # the artifact
    )
    until = time.monotonic() + PATIENCE_S
    while (missing := [each for each in wanted if each not in record.read_bytes()]) and time.monotonic() < until:
        time.sleep(0.2)
    assert not missing
    assert len(list(offline.glob("files/media/table/val/*.json"))) == 1
    staged = {path.stat().st_size for path in (run.dir / "wandb/staged").glob("**/*") if path.is_file()}
    assert (run.dir / "student.safetensors").stat().st_size in staged  # for `wandb sync`
    assert len(staged) > 1  # and pictures
    assert not (here / "wandb").exists()
    assert "WANDB_DATA_DIR" not in os.environ  # the next run has a folder of its own


IDS = re.compile(r"offline-run-\d+_\d+-(\w+)")


def ids(folder):
    return [IDS.fullmatch(path.name)[1] for path in sorted((Path(folder) / "wandb").glob("offline-run-*"))]


def test_a_resumed_run_goes_on_in_the_same_wandb_run_and_another_does_not(here):
    tree = with_wandb("tracked")
    with pytest.raises(InterruptedRunError):
        kdmm.fit(ending(tree, "train_batch_start", 1), allow=ALLOW)
    time.sleep(1)  # wandb names its folders by the second
    kdmm.fit(tree, resume=True)
    kept = Path("runs/tracked/wandb/id").read_text().strip()
    assert ids("runs/tracked") == [kept, kept]
    for record in Path("runs/tracked/wandb").glob("offline-run-*/run-*.wandb"):
        assert record.name == f"run-{kept}.wandb"
        assert kept.encode() in record.read_bytes()
    other = kdmm.fit(with_wandb("other"))
    assert ids(other.dir) != [kept]
    kdmm.fit(with_wandb("tracked"), overwrite=True)
    assert ids("runs/tracked") != [kept]


@pytest.mark.slow
def test_nothing_is_written_in_the_users_home(here):
    Path("tracked.yaml").write_text(json.dumps(with_wandb("tracked")))
    command = [sys.executable, "-m", "kdmm", "fit", "tracked.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not [path for path in (here / "home").glob("**/*wandb*") if "config" not in path.parts]
    assert list(Path("runs/tracked/wandb/staged").glob("**/*"))


def test_folders_that_the_user_names_are_used(here, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(here / "mine"))
    run = kdmm.fit(with_wandb("tracked"))
    assert list((here / "mine").glob("**/*"))
    assert not (run.dir / "wandb/staged").exists()
    assert os.environ["WANDB_DATA_DIR"] == str(here / "mine")


@pytest.mark.slow
def test_with_a_key_and_no_network_a_run_goes_on_offline(here, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    wandb.teardown()  # it reads its settings once in a process
    began = time.monotonic()
    with pytest.warns(UserWarning, match="wandb did not answer.*logged offline"):
        run = kdmm.fit(with_wandb("tracked", timeout_s=5.0))
    assert time.monotonic() - began < 60
    assert ids(run.dir) == [(run.dir / "wandb/id").read_text().strip()]
    wandb.teardown()
