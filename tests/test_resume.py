"""An interrupted or crashed run ends bit for bit where the whole one does, whatever the Trainer is told to do."""

import pytest

import kdmm
from kdmm.errors import InterruptedRunError
from tests.hooks import ALLOW, ending
from tests.small_runs import experiment, folder_with_a_teacher, logged, same, weights

here = pytest.fixture(folder_with_a_teacher)


def assert_exact(hook, step, how="SIGTERM", trainer=(), data=(), checkpoints=()):
    def settings(name):
        tree = experiment(name)
        tree["trainer"] |= dict(trainer)
        tree["data"] |= dict(data)
        callback = {"_target_": "kdmm.callbacks.Checkpoints", "every_n_steps": 2, **dict(checkpoints)}
        return {**tree, "callbacks": {"checkpoints": callback}}

    whole = kdmm.fit(settings("whole"))
    with pytest.raises((InterruptedRunError, RuntimeError), match=r"stopped|crashed"):
        kdmm.fit(ending(settings("ended"), hook, step, how), allow=ALLOW)
    assert not (whole.dir.parent / "ended/metrics.json").exists()
    resumed = kdmm.fit(settings("ended"), resume=True)
    assert same(weights(whole.dir), weights(resumed.dir))
    assert resumed.metrics == whole.metrics
    assert resumed.record.steps == whole.record.steps
    assert [set(row.items()) for row in logged(resumed.dir)] == [set(row.items()) for row in logged(whole.dir)]


BY_VALIDATION = {"monitor": "val/loss", "mode": "min"}
QUICK = {
    "with accumulated gradients": (
        "train_batch_start",
        3,
        "SIGTERM",
        {"accumulate_grad_batches": 2, "limit_train_batches": 4},
    ),
    "in a validation that chooses the best": ("validation_start", 6, "SIGTERM", {}, {}, BY_VALIDATION),
    "between the end of training and the results": ("train_end", 9, "crash", {}, {}, BY_VALIDATION),
}
MORE = {
    "with accumulation that does not divide the epoch": (
        *("train_batch_start", 2, "SIGTERM"),
        {"accumulate_grad_batches": 2},
    ),
    "with a limit on steps": (
        *("train_batch_start", 6, "SIGTERM"),
        {"max_epochs": -1, "max_steps": 8, "check_val_every_n_epoch": 2},
    ),
    "with validation after every step": ("validation_start", 4, "SIGTERM", {"val_check_interval": 1}),
    "with a worker": ("train_batch_start", 4, "SIGTERM", {}, {"workers": 1}),
    "with one step an epoch": ("train_batch_start", 1, "SIGTERM", {"limit_train_batches": 1, "max_epochs": 4}),
    "with whole epochs": ("train_batch_start", 3, "SIGTERM", {"limit_train_batches": 1.0, "max_epochs": 2}),
    "by a crash in validation": ("validation_batch_end", 6, "crash"),
    "by a crash after validation": ("validation_end", 6, "crash"),
    "by a crash at an epoch's end": ("train_epoch_end", 6, "crash"),
}


@pytest.mark.parametrize("case", QUICK.values(), ids=QUICK.keys())
def test_a_run_that_ended_early_goes_on_exactly(here, case):
    assert_exact(*case)


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE.values(), ids=MORE.keys())
def test_a_run_that_ended_early_goes_on_exactly_elsewhere(here, case):
    assert_exact(*case)


def test_resuming_a_finished_run_changes_nothing(here):
    run = kdmm.fit(experiment())
    before, rows = weights(run.dir), logged(run.dir)
    again = kdmm.fit(experiment(), resume=True)
    assert same(before, weights(again.dir))
    assert again.metrics == kdmm.run.Run(run.dir).metrics
    assert [row for row in logged(again.dir) if row["train/loss"]] == [row for row in rows if row["train/loss"]]
