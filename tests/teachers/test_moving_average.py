import copy

import pytest
import torch
from torch import nn

import kdmm
from kdmm.distributed import rank
from kdmm.errors import InputError, InterruptedRunError
from kdmm.models.preprocess import Preprocess
from kdmm.modules import DistillationModule
from kdmm.teachers import MovingAverage
from tests import two_processes
from tests.hooks import ALLOW, ending
from tests.small_runs import STUDENT, experiment, folder_with_a_teacher, logged, same, weights
from tests.teachers.test_teachers import FakeData

here = pytest.fixture(folder_with_a_teacher)


class Net(nn.Module):
    preprocess = Preprocess()

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.locked = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, batch):
        return {"y": self.norm(self.linear(batch["x"]))}


def following(steps, **settings):
    """The average and the student's weights, first to last, over some steps that move it at random."""
    torch.manual_seed(0)
    student, average = Net(), MovingAverage(**settings)
    average.attach(student)
    seen = [copy.deepcopy(student.state_dict())]
    for _ in range(steps):
        student({"x": torch.randn(4, 2)})  # moves batch norm's statistics
        for parameter in (*student.linear.parameters(), *student.norm.parameters()):
            parameter.data.add_(torch.randn_like(parameter))
        average.after_step(student)
        seen.append(copy.deepcopy(student.state_dict()))
    return average, seen


NAMES = ["linear.weight", "norm.bias", "norm.running_mean", "norm.running_var"]


def test_the_average_is_exponential():
    average, seen = following(5, decay=0.8, warmup=False)
    for name in NAMES:
        expected = seen[0][name]
        for state in seen[1:]:
            expected = 0.8 * expected + 0.2 * state[name]
        torch.testing.assert_close(average.model.state_dict()[name], expected)
    assert average.model.norm.num_batches_tracked == 5
    assert torch.equal(average.model.locked.weight, seen[0]["locked.weight"])


def test_at_first_it_is_the_mean_of_all_steps():
    average, seen = following(6, decay=0.999)
    for name in NAMES:
        torch.testing.assert_close(average.model.state_dict()[name], torch.stack([s[name] for s in seen[1:]]).mean(0))
    average, seen = following(6, decay=0.5)  # all steps so far while these are two, then exponential
    expected = (seen[1]["linear.weight"] + seen[2]["linear.weight"]) / 2
    for state in seen[3:]:
        expected = (expected + state["linear.weight"]) / 2
    torch.testing.assert_close(average.model.linear.weight.data, expected)


def test_nothing_trains_it_and_a_checkpoint_holds_it():
    average, seen = following(3)
    average.train().requires_grad_(True)
    assert not average.model.training
    assert not list(average.parameters())
    assert not average({"x": torch.randn(4, 2)})["y"].requires_grad
    state = copy.deepcopy(average.state_dict())
    assert list(state) == ["_extra_state"]
    other, _ = following(1)
    other.load_state_dict(state)
    assert other.steps == 3
    assert same(other.model.state_dict(), average.model.state_dict())
    assert not any(same(other.model.state_dict(), one) for one in seen)
    assert not other.model.linear.weight.requires_grad


def test_wrong_settings_are_named():
    for decay in (1.0, -0.1):
        with pytest.raises(InputError, match="decay"):
            MovingAverage(decay)
    average, _ = following(0)
    average.to(torch.bfloat16)
    with pytest.raises(InputError, match=r"bfloat16.*bf16-mixed"):
        average.prepare(FakeData(), ["train"])


def statistics_of_each_rank() -> list[float]:
    student, average = Net(), MovingAverage(0.0, warmup=False)
    average.attach(student)
    student.norm.running_mean.fill_(1.0 + 2 * rank())
    average.after_step(student)
    return average.model.norm.running_mean.tolist()


def test_the_statistics_of_all_processes_are_averaged(tmp_path):
    assert two_processes.run(statistics_of_each_rank, tmp_path) == [[2.0, 2.0], [2.0, 2.0]]


def settings(name="small", **trainer):
    tree = experiment(name)
    tree["module"]["teacher"] = {"_target_": "kdmm.teachers.MovingAverage", "decay": 0.9}
    tree["trainer"] |= trainer
    return tree


@pytest.fixture
def followed(monkeypatch):
    """The number of steps after which a teacher looked at its student."""
    steps = []
    look = MovingAverage.after_step

    def counted(self, student):
        look(self, student)
        steps.append(self.steps)

    monkeypatch.setattr(MovingAverage, "after_step", counted)
    return steps


def test_a_student_learns_from_its_own_past(here, followed):
    tree = settings(accumulate_grad_batches=2, limit_train_batches=4)
    run = kdmm.fit(tree)
    assert followed == [1, 2, 3, 4, 5, 6]  # steps, not batches
    assert run.record.steps == 6
    state = torch.load(run.dir / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    average = state["teacher._extra_state"]
    assert average["steps"] == 6
    assert set(average["average"]) == set(weights(run.dir))
    assert not same(average["average"], weights(run.dir))
    assert not any(name.startswith("teacher.") and name != "teacher._extra_state" for name in state)
    assert len({row["train/image"] for row in logged(run.dir) if row["train/image"]}) == 6
    assert not any("teacher" in name for name in run.metrics)
    found = kdmm.evaluate(run.dir)
    assert "test/recall@5" in found
    assert not any("teacher" in name or "retention" in name for name in found)


def test_an_interrupted_run_goes_on_exactly(here):
    every = {"callbacks": {"kept": {"_target_": "kdmm.callbacks.Checkpoints", "every_n_steps": 2}}}
    whole = kdmm.fit({**settings("whole"), **every})
    with pytest.raises(InterruptedRunError):
        kdmm.fit(ending({**settings("ended"), **every}, "train_batch_start", 4, "SIGTERM"), allow=ALLOW)
    resumed = kdmm.fit({**settings("ended"), **every}, resume=True)
    assert same(weights(whole.dir), weights(resumed.dir))
    averages = [
        torch.load(run.dir / "checkpoints/last.ckpt", weights_only=True)["state_dict"]["teacher._extra_state"]
        for run in (whole, resumed)
    ]
    assert averages[0]["steps"] == averages[1]["steps"] == 9
    assert same(averages[0]["average"], averages[1]["average"])


def test_it_teaches_beside_another(here):
    tree = settings()
    teachers = {"big": {"_target_": "kdmm.teachers.FromRun", "run": "runs/teacher"}, "past": tree["module"]["teacher"]}
    tree["module"]["teacher"] = {"_target_": "kdmm.teachers.Ensemble", "teachers": teachers}
    image = {"_target_": "kdmm.losses.FeatureMatch", "student": "image", "teacher": "big/image"}
    affinity = {"_target_": "kdmm.losses.Affinity", "pair": ["image", "text"]}
    tree["module"]["objective"]["terms"] |= {"image": image, "both": affinity}
    tree["module"]["objective"]["weights"] |= {"both": 1.0}
    run = kdmm.fit(tree)
    assert all(float(row["train/both"]) > 0 for row in logged(run.dir) if row["train/both"])
    kept = torch.load(run.dir / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert [name for name in kept if name.startswith("teacher.")] == ["teacher.teachers.past._extra_state"]


def test_born_again_and_assistant_chains(here):
    """Each run's student is the next run's teacher: first of the same model, then of a smaller one."""
    module = DistillationModule.__name__
    for name, teacher, width in (("first", "teacher", 8), ("again", "first", 8), ("small", "again", 4)):
        tree = experiment(name)
        tree["module"]["teacher"]["run"] = f"runs/{teacher}"
        tree["module"]["student"] = {**STUDENT, "embed_dim": width}
        tree["trainer"] |= {"max_epochs": 1}
        before = weights(here / "runs" / teacher)
        run = kdmm.fit(tree)
        assert same(weights(here / "runs" / teacher), before), module
        assert run.record.teacher == f"runs/{teacher}"
        assert run.model.embed_dim == width
