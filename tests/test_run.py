"""Whole runs, small and on real data: what is written, what is refused, and how an interrupted one goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

import kdmm
from kdmm import run as runs
from kdmm.cli import main
from kdmm.errors import InputError, InterruptedRunError, NonFiniteLossError
from tests.small_runs import STEPS, STUDENT, experiment, folder_with_a_teacher, logged, same, weights

here = pytest.fixture(folder_with_a_teacher)


class StopAfter(pl.Callback):
    """Sends this process a signal in a step or in validation, as a person or a scheduler would."""

    step = 0
    number = signal.SIGINT
    in_validation = False

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.in_validation and trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)

    def on_validation_start(self, trainer, pl_module):
        if self.in_validation and trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def stopping(monkeypatch):
    """Adds StopAfter to the next runs' callbacks."""
    build = runs._callbacks

    def with_stop(*arguments):
        callbacks, checkpoints = build(*arguments)
        return [*callbacks, StopAfter()], checkpoints

    def arm(**settings):
        for name, value in settings.items():
            monkeypatch.setattr(StopAfter, name, value)
        monkeypatch.setattr(runs, "_callbacks", with_stop)

    def disarm():
        monkeypatch.setattr(runs, "_callbacks", build)

    arm.disarm = disarm
    return arm


def test_a_run_writes_what_it_says_and_is_repeatable(here):
    run = kdmm.fit(experiment())
    written = {path.name for path in run.dir.iterdir()}
    assert written == {"checkpoints", "config.yaml", "metrics.csv", "metrics.json", "student.safetensors"}
    assert run.summary["steps"] == STEPS
    assert run.summary["teacher"] == "runs/teacher"
    assert 0 <= run.metrics["val/recall@5"] <= 1
    assert run.metrics["val/retention/recall@5"] == pytest.approx(
        run.metrics["val/recall@5"] / run.metrics["val/teacher/recall@5"]
    )
    assert same(weights(run.dir), run.model.state_dict())
    again = kdmm.fit(experiment("again"))
    assert same(weights(run.dir), weights(again.dir))
    assert [row["train/loss"] for row in logged(run.dir)] == [row["train/loss"] for row in logged(again.dir)]
    checkpoint = torch.load(run.dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert set(checkpoint["state_dict"]) == {f"student.{name}" for name in weights(run.dir)}
    losses = [float(row["train/loss"]) for row in logged(run.dir) if row["train/loss"]]
    assert len(losses) == STEPS
    assert losses[-1] < losses[0]


def test_the_teacher_is_left_as_it_was(here):
    before = weights("runs/teacher")
    settings = experiment()
    module, data = runs._build(kdmm.run.configuration.load(settings, (), ()), ())
    trainer = pl.Trainer(max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
                         limit_val_batches=0)  # fmt: skip
    with runs._quiet():
        trainer.fit(module, datamodule=data)
    assert same(before, module.teacher.model.state_dict())
    assert not any(part.training for part in module.teacher.model.modules())


def test_an_existing_run_is_neither_overwritten_nor_resumed_unasked(here):
    kdmm.fit(experiment())
    kept = (here / "runs/small/metrics.json").read_bytes()
    with pytest.raises(InputError, match="runs/small exists"):
        kdmm.fit(experiment())
    with pytest.raises(InputError, match="one of the two"):
        kdmm.fit(experiment(), resume=True, overwrite=True)
    with pytest.raises(InputError, match=r"seed.* differ"):
        kdmm.fit(experiment(seed=3), resume=True)
    with pytest.raises(InputError, match="no run in"):
        kdmm.fit(experiment("other"), resume=True)
    assert (here / "runs/small/metrics.json").read_bytes() == kept
    assert not (here / "runs/other").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("step", "in_validation", "precomputed"),
    [(0, False, False), (4, False, True), (5, False, False), (6, True, True)],  # inside, at and after an epoch's end
)
def test_an_interrupted_run_ends_where_the_whole_one_does(here, stopping, step, number, in_validation, precomputed):
    whole = kdmm.fit(experiment("whole", precomputed))
    stopping(step=step, number=number, in_validation=in_validation)
    with pytest.raises(InterruptedRunError, match="state is saved"):
        kdmm.fit(experiment("stopped", precomputed))
    assert not (here / "runs/stopped/student.safetensors").exists()
    stopping.disarm()
    resumed = kdmm.fit(experiment("stopped", precomputed), resume=True)
    assert same(weights(whole.dir), weights(resumed.dir))
    assert resumed.metrics == whole.metrics
    assert resumed.summary["steps"] == STEPS
    columns = ("epoch", "step", "train/loss", "val/loss", "val/recall@5")
    rows = [[[row.get(name) for name in columns] for row in logged(run.dir)] for run in (whole, resumed)]
    assert rows[0] == rows[1]


def test_a_loss_that_is_not_finite_names_the_term_and_the_samples(here, capsys):
    settings = experiment()
    settings["module"]["optimization"]["optimizer"]["lr"] = 1e30
    with pytest.raises(NonFiniteLossError, match=r"not finite at step \d+: .*hard.*samples [0-9a-f]"):
        kdmm.fit(settings)
    assert not (here / "runs/small/student.safetensors").exists()


def test_evaluation_adds_the_test_numbers(here):
    run = kdmm.fit(experiment(precomputed=True))
    found = kdmm.evaluate(run.dir)
    summary = json.loads((run.dir / "metrics.json").read_text())
    assert summary["split"] == "test"
    assert summary["metrics"]["test/recall@5"] == found["test/recall@5"]
    assert summary["metrics"]["val/recall@5"] == run.metrics["val/recall@5"]
    assert found["test/retention/recall@5"] == pytest.approx(found["test/recall@5"] / found["test/teacher/recall@5"])
    assert "R@5" in kdmm.report([run.dir]).to_markdown()


def test_bf16_trains_to_nearly_the_same(here):
    full = kdmm.fit(experiment("full"))
    settings = experiment("half")
    settings["trainer"]["precision"] = "bf16-mixed"
    half = kdmm.fit(settings)
    losses = [[float(row["train/loss"]) for row in logged(run.dir) if row["train/loss"]] for run in (full, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


BROKEN = {
    "no teacher run": (["module.teacher.run=runs/teachr"], "There is no run 'runs/teachr'"),
    "teacher not finished": (["module.teacher.run=runs/begun"], "is not finished"),
    "damaged teacher": (["module.teacher.run=runs/damaged"], "is damaged"),
    "empty split": (["data.sources.groups=[Flags]"], "has no samples"),
    "batch too large": (["data.batch_size=100000"], "batch_size"),
    "fold out of range": (["data.sources.fold=7"], "the folds are 0 to 4"),
    "unknown group": (["data.sources.groups=[Fod]"], "Emoji.groups"),
    "unknown argument": (["data.batchsize=3"], "batchsize"),
    "wrong type": (["data.batch_size=many"], "data.batch_size"),
    "unknown target": (["module._target_=kdmm.modules.DistilationModule"], "DistillationModule"),
    "term reads audio": (["module.objective.terms.image.student=audio"], "audio"),
    "weight without term": (["module.objective.weights.hrd=1"], "hrd"),
    "name that escapes": (["name=../elsewhere"], "name"),
    "warm-up too long": (
        ["module.optimization.schedule={_target_: kdmm.modules.WarmupCosine, warmup_steps: 99}"],
        "99 steps of warm-up",
    ),
    "lr_scale of nothing": (["module.optimization.lr_scale={nothing: 1.0}"], "no trained parameter"),
}


@pytest.mark.parametrize(("overrides", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_wrong_input_ends_in_one_message_and_leaves_nothing(here, capsys, overrides, message):
    (here / "runs/begun").mkdir()
    (here / "runs/damaged").mkdir()
    (here / "runs/damaged/teacher.safetensors").write_bytes(b"{}")
    (here / "small.yaml").write_text(json.dumps(experiment()))
    status = main(["fit", "small.yaml", *overrides])
    printed = capsys.readouterr().err
    assert status == 2, printed
    assert message in printed
    assert "Traceback" not in printed
    left = {path.name for path in (here / "runs").iterdir()} - {"teacher", "begun", "damaged"}
    assert not left


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_where_the_whole_one_does(here):
    settings = experiment("killed")
    settings["callbacks"] = {"checkpoints": {"_target_": "kdmm.callbacks.Checkpoints", "every_n_steps": 2}}
    (here / "killed.yaml").write_text(json.dumps(settings))
    program = (
        "import os, signal, sys, lightning.pytorch as pl\n"
        "from kdmm import run\n"
        "class Kill(pl.Callback):\n"
        "    def on_train_batch_start(self, trainer, *rest):\n"
        "        if trainer.global_step == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "build = run._callbacks\n"
        "def killing(*a):\n"
        "    callbacks, checkpoints = build(*a)\n"
        "    return [*callbacks, Kill()], checkpoints\n"
        "run._callbacks = killing\n"
        "run.fit('killed.yaml')\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole = kdmm.fit(experiment("whole"))
    resumed = kdmm.fit("killed.yaml", resume=True)
    assert same(weights(whole.dir), weights(resumed.dir))
    assert resumed.metrics == whole.metrics


@pytest.mark.slow
def test_two_processes_train_under_ddp(here):
    settings = experiment("two")
    settings["module"]["student"] = {**STUDENT, "init_logit_bias": -10.0}  # no softmax term reads it
    settings["trainer"] = {**settings["trainer"], "devices": 2, "strategy": "ddp", "limit_train_batches": 2}
    settings["data"]["batch_size"] = 20
    (here / "two.yaml").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "kdmm", "fit", "two.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    losses = [float(row["train/loss"]) for row in logged("runs/two") if row["train/loss"]]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert json.loads(Path("runs/two/metrics.json").read_text())["metrics"]["val/recall@5"] >= 0
