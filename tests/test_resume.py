"""An interrupted or crashed run ends bit for bit where the whole one does, whatever the Trainer is told to do."""

import os
import signal

import lightning.pytorch as pl
import pytest

import kdmm
from kdmm import run as runs
from kdmm.errors import InterruptedRunError
from tests.small_runs import experiment, folder_with_a_teacher, logged, same, weights

here = pytest.fixture(folder_with_a_teacher)


class End(pl.Callback):
    """Ends the run in one hook after some steps: by a signal in a step or in validation, by a crash elsewhere."""

    def __init__(self, hook, step):
        self.hook = hook
        self.step = step

    def _end(self, hook, trainer):
        if hook == self.hook and trainer.global_step == self.step:
            if hook in ("train_batch_start", "validation_start"):
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                raise RuntimeError("crashed")

    def on_train_batch_start(self, trainer, *rest):
        self._end("train_batch_start", trainer)

    def on_validation_start(self, trainer, *rest):
        self._end("validation_start", trainer)

    def on_validation_batch_end(self, trainer, *rest):
        self._end("validation_batch_end", trainer)

    def on_validation_end(self, trainer, *rest):
        self._end("validation_end", trainer)

    def on_train_epoch_end(self, trainer, *rest):
        self._end("train_epoch_end", trainer)

    def on_train_end(self, trainer, *rest):
        self._end("train_end", trainer)


def assert_exact(monkeypatch, hook, step, trainer=(), data=(), checkpoints=()):
    def settings(name):
        tree = experiment(name)
        tree["trainer"] |= dict(trainer)
        tree["data"] |= dict(data)
        callback = {"_target_": "kdmm.callbacks.Checkpoints", "every_n_steps": 2, **dict(checkpoints)}
        return {**tree, "callbacks": {"checkpoints": callback}}

    def ending(*arguments):
        callbacks, kept = build(*arguments)
        return [*callbacks, End(hook, step)], kept

    build = runs._callbacks
    whole = kdmm.fit(settings("whole"))
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_callbacks", ending)
        with pytest.raises((InterruptedRunError, RuntimeError), match=r"stopped|crashed"):
            kdmm.fit(settings("ended"))
    assert not (whole.dir.parent / "ended/metrics.json").exists()
    resumed = kdmm.fit(settings("ended"), resume=True)
    assert same(weights(whole.dir), weights(resumed.dir))
    assert resumed.metrics == whole.metrics
    assert resumed.summary["steps"] == whole.summary["steps"]
    assert [set(row.items()) for row in logged(resumed.dir)] == [set(row.items()) for row in logged(whole.dir)]


BY_VALIDATION = {"monitor": "val/loss", "mode": "min"}
QUICK = {
    "with accumulated gradients": ("train_batch_start", 3, {"accumulate_grad_batches": 2, "limit_train_batches": 4}),
    "in a validation that chooses the best": ("validation_start", 6, {}, {}, BY_VALIDATION),
    "between the end of training and the results": ("train_end", 9, {}, {}, BY_VALIDATION),
}
MORE = {
    "with accumulation that does not divide the epoch": ("train_batch_start", 2, {"accumulate_grad_batches": 2}),
    "with a limit on steps": ("train_batch_start", 6, {"max_epochs": -1, "max_steps": 8, "check_val_every_n_epoch": 2}),
    "with validation after every step": ("validation_start", 4, {"val_check_interval": 1}),
    "with a worker": ("train_batch_start", 4, {}, {"workers": 1}),
    "with one step an epoch": ("train_batch_start", 1, {"limit_train_batches": 1, "max_epochs": 4}),
    "with whole epochs": ("train_batch_start", 3, {"limit_train_batches": 1.0, "max_epochs": 2}),
    "by a crash in validation": ("validation_batch_end", 6),
    "by a crash after validation": ("validation_end", 6),
    "by a crash at an epoch's end": ("train_epoch_end", 6),
}


@pytest.mark.parametrize("case", QUICK.values(), ids=QUICK.keys())
def test_a_run_that_ended_early_goes_on_exactly(here, monkeypatch, case):
    assert_exact(monkeypatch, *case)


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE.values(), ids=MORE.keys())
def test_a_run_that_ended_early_goes_on_exactly_elsewhere(here, monkeypatch, case):
    assert_exact(monkeypatch, *case)


def test_resuming_a_finished_run_changes_nothing(here):
    run = kdmm.fit(experiment())
    before, rows = weights(run.dir), logged(run.dir)
    again = kdmm.fit(experiment(), resume=True)
    assert same(before, weights(again.dir))
    assert again.metrics == kdmm.run.Run(run.dir).metrics
    assert [row for row in logged(again.dir) if row["train/loss"]] == [row for row in rows if row["train/loss"]]
