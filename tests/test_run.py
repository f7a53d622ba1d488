"""Whole runs, small and on real data: what is written, what is refused, and how an interrupted one goes on."""

import json
import signal
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

import kdmm
from kdmm import config as configuration
from kdmm.cli import main
from kdmm.data import Emoji
from kdmm.errors import InputError, InterruptedRunError, NonFiniteLossError
from kdmm.runs.build import build
from kdmm.runs.quiet import quiet
from tests.hooks import ALLOW, command, ending
from tests.shapes import shapes
from tests.small_runs import EMOJI, STEPS, STUDENT, experiment, folder_with_a_teacher, logged, same, weights

here = pytest.fixture(folder_with_a_teacher)


def test_a_run_writes_what_it_says_and_is_repeatable(here):
    run = kdmm.fit(experiment())
    written = {path.name for path in run.dir.iterdir()}
    assert written == {"checkpoints", "config.yaml", "metrics.csv", "metrics.json", "student.safetensors"}
    assert run.record.steps == STEPS
    assert run.record.teacher == "runs/teacher"
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
    module, data = build(configuration.load(experiment(), (), ()), ())
    trainer = pl.Trainer(max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
                         limit_val_batches=0)  # fmt: skip
    with quiet():
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


PLACES = [  # inside, at and after an epoch's end
    ("train_batch_start", 0, False),
    ("train_batch_start", 4, True),
    ("train_batch_start", 5, False),
    ("validation_start", 6, True),
]
SIGNALS = ["SIGINT", "SIGTERM"]


@pytest.mark.parametrize(
    ("hook", "step", "precomputed", "how"),
    [  # one signal a place; the other one is slow
        pytest.param(*place, how, marks=[pytest.mark.slow] if (number + other) % 2 else [])
        for number, place in enumerate(PLACES)
        for other, how in enumerate(SIGNALS)
    ],
)
def test_an_interrupted_run_ends_where_the_whole_one_does(here, hook, step, precomputed, how):
    whole = kdmm.fit(experiment("whole", precomputed))
    with pytest.raises(InterruptedRunError, match="state is saved"):
        kdmm.fit(ending(experiment("stopped", precomputed), hook, step, how), allow=ALLOW)
    assert not (here / "runs/stopped/student.safetensors").exists()
    resumed = kdmm.fit(experiment("stopped", precomputed), resume=True)
    assert same(weights(whole.dir), weights(resumed.dir))
    assert resumed.metrics == whole.metrics
    assert resumed.record.steps == STEPS
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
    assert "R@5" in kdmm.report([run.dir], speed=False).to_markdown()


def test_bf16_takes_nearly_the_same_steps(here):
    full = kdmm.fit(experiment("full"))
    settings = experiment("half")
    settings["trainer"]["precision"] = "bf16-mixed"
    half = kdmm.fit(settings)
    losses = [[float(row["train/loss"]) for row in logged(run.dir) if row["train/loss"]] for run in (full, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)  # a few of bfloat16's roundings, 2^-8 each


@pytest.mark.slow
def test_bf16_trains_to_the_same_final_metrics_within_noise(here):
    source = shapes("shapes")

    def fitted(name, seed=0, precision="32-true"):
        tree = experiment(name, seed=seed)
        tree["data"] |= {"sources": source, "batch_size": 32, "augment": []}  # a flip would make the captions wrong
        tree["module"]["student"] = {**STUDENT, "dropout": 0.0, "embed_dim": 16}
        schedule = {"_target_": "kdmm.modules.WarmupCosine", "warmup_steps": 5}
        tree["module"]["optimization"]["schedule"] = schedule
        tree["trainer"] = {"accelerator": "cpu", "max_epochs": 30, "precision": precision}
        return kdmm.fit(tree).metrics

    full, half, other = fitted("full"), fitted("half", precision="bf16-mixed"), fitted("other", seed=1)
    assert full["val/recall@5"] > 0.8  # it has learned: chance is 0.16
    # Rounding leads training another way, as another seed does; it must not lead it as far.
    assert abs(half["val/loss"] - full["val/loss"]) < abs(other["val/loss"] - full["val/loss"])
    queries = full["val/image_to_text/queries"] + full["val/text_to_image/queries"]
    for k in (1, 5):
        share = full[f"val/recall@{k}"]
        # A recall is a share of so many queries: two of its standard errors, and never less than two queries.
        noise = max(2 * (share * (1 - share) / queries) ** 0.5, 2 / queries)
        assert abs(half[f"val/recall@{k}"] - share) <= noise, k


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
@pytest.mark.parametrize("precomputed", [False, True])
def test_a_killed_run_goes_on_and_ends_where_the_whole_one_does(here, precomputed):
    def settings(name):
        checkpoints = {"_target_": "kdmm.callbacks.Checkpoints", "every_n_steps": 2}
        return experiment(name, precomputed, callbacks={"checkpoints": checkpoints})

    Path("killed.yaml").write_text(json.dumps(ending(settings("killed"), "train_batch_start", 5, "SIGKILL")))
    killed = command("fit", "killed.yaml", "--allow", *ALLOW)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not Path("runs/killed/metrics.json").exists()
    whole = kdmm.fit(settings("whole"))
    resumed = kdmm.fit(settings("killed"), resume=True)
    assert same(weights(whole.dir), weights(resumed.dir))
    assert resumed.metrics == whole.metrics


def seen(stage):
    """What the two processes saw, a row a batch: the process, the epoch, the ids."""
    return [
        (rank, row["epoch"], row["ids"])
        for rank in (0, 1)
        for row in map(json.loads, Path(f"{stage}-{rank}.jsonl").read_text().splitlines())
    ]


@pytest.mark.slow
def test_two_processes_share_the_data_out(here):
    tree = experiment("two", callbacks={"ids": {"_target_": "tests.hooks.Ids", "folder": str(here)}})
    tree["data"]["batch_size"] = 20
    del tree["trainer"]["limit_train_batches"]
    Path("two.yaml").write_text(json.dumps(tree))
    ddp = ("trainer.devices=2", "trainer.accelerator=cpu", "trainer.strategy=ddp", "trainer.max_epochs=2")
    done = command("fit", "two.yaml", *ddp, "--allow", *ALLOW)
    assert done.returncode == 0, done.stderr[-2000:]
    source = Emoji(groups=EMOJI["groups"])
    whole = {sample.id for sample in source.samples("train")}
    for epoch in (0, 1):
        trained = [name for _, number, ids in seen("train") if number == epoch for name in ids]
        assert len(trained) == len(set(trained)) == len(whole) // 40 * 40  # no sample twice, on neither process
        assert set(trained) <= whole
    orders = [[ids for rank, number, ids in seen("train") if (rank, number) == (0, epoch)] for epoch in (0, 1)]
    assert orders[0] != orders[1]
    validated = [{name for rank, _, ids in seen("val") if rank == number for name in ids} for number in (0, 1)]
    assert validated[0] | validated[1] == {sample.id for sample in source.samples("val")}
    assert not validated[0] & validated[1]
    queries = json.loads(Path("runs/two/metrics.json").read_text())["metrics"]["val/image_to_text/queries"]
    assert queries == len(source.samples("val"))


@pytest.mark.slow
def test_two_processes_train_under_ddp(here):
    settings = experiment("two")
    settings["module"]["student"] = {**STUDENT, "init_logit_bias": -10.0}  # no softmax term reads it
    settings["trainer"] = {**settings["trainer"], "devices": 2, "strategy": "ddp", "limit_train_batches": 2}
    settings["data"]["batch_size"] = 20
    Path("two.yaml").write_text(json.dumps(settings))
    done = command("fit", "two.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    losses = [float(row["train/loss"]) for row in logged("runs/two") if row["train/loss"]]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert json.loads(Path("runs/two/metrics.json").read_text())["metrics"]["val/recall@5"] >= 0


def test_a_series_goes_on_where_it_was_and_repeats_nothing(here):
    tree = configuration.to_dict(configuration.load(experiment(), ()))
    Path("small.yaml").write_text(configuration.to_yaml(tree), "utf-8")
    run = kdmm.complete("small.yaml")
    assert run.record.split == "test"
    assert "test/recall@5" in run.metrics
    times = {path: path.stat().st_mtime_ns for path in run.dir.rglob("*") if path.is_file()}
    assert kdmm.complete("small.yaml").metrics == run.metrics
    assert {path: path.stat().st_mtime_ns for path in run.dir.rglob("*") if path.is_file()} == times
    for change in ("seed=7", "trainer.max_epochs=9"):
        with pytest.raises(InputError, match=f"{change.split('=')[0]} differ"):
            kdmm.complete("small.yaml", [change])
    assert kdmm.complete("small.yaml", ["trainer.enable_progress_bar=false"]).metrics == run.metrics
