from pathlib import Path

import pytest
import torch

import kdmm
from kdmm.cli import main
from kdmm.config import load
from kdmm.data import Digits
from kdmm.errors import InputError
from kdmm.runs import planning, tuning
from kdmm.runs.step_costs import WARM_UP
from tests.test_comparison import STUDENT, TEACHER

VIEWS, BATCH = 3, 64


@pytest.fixture
def student(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("teacher.yaml").write_text(TEACHER.replace("batch_size: 64", f"batch_size: {BATCH}\n  views: {VIEWS}"))
    Path("student.yaml").write_text(STUDENT.replace("runs/none", "runs/teacher"))
    kdmm.fit("teacher.yaml", ["name=teacher"])
    return Path("student.yaml")


def test_a_plan_counts_what_it_says_beside_what_was_measured(student, capsys):
    plan = kdmm.plan(student, steps=3)
    samples = len(Digits(fold=0).samples("train"))
    numbers = 10 + 8  # logits and features of the teacher
    assert plan.value("answers to store").planned == pytest.approx(VIEWS * samples * numbers * 4 / 1e6)
    for name in ("teacher running", "answers at hand"):
        step, epoch = plan.value(f"step, {name}"), plan.value(f"epoch, {name}")
        wait = plan.value("wait for a batch").measured
        assert step.planned > 0
        assert step.measured > 0
        if name == "teacher running":
            assert epoch.measured == pytest.approx((step.measured + wait) / 1e3 * (samples // BATCH))
    pays = plan.value("storing pays after").planned
    assert pays == pytest.approx(VIEWS * samples / BATCH / (samples // BATCH))  # epochs, of which each answers once
    with pytest.raises(StopIteration):
        plan.value("nothing")
    assert not Path("runs/any").exists()
    assert main(["plan", str(student), "--steps", "1"]) == 0
    assert "measured over 1 steps on cpu" in capsys.readouterr().out


def test_with_the_answers_at_hand_the_same_batches_are_trained(student, monkeypatch):
    seen = []
    measured = planning.measure_steps

    def spy(settings, module, data, *more):
        timer, batches = measured(settings, module, data, *more)
        seen.append((module.teacher, [batch["id"] for batch in batches], batches))
        return timer, batches

    monkeypatch.setattr(planning, "measure_steps", spy)
    kdmm.plan(student, steps=2)
    (online, first, batches), (kept, second, _) = seen
    assert first == second
    assert len(first) == WARM_UP + 2
    answers = [online.answer(batch)["logits"] for batch in batches]
    kept._next = 0
    assert all(torch.equal(kept.answer(batch)["logits"], each) for batch, each in zip(batches, answers, strict=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile itself calls
def test_models_are_measured_compiled_where_they_are_trained_so(student):
    compiled = "callbacks.fast={_target_: kdmm.callbacks.Compiled, backend: eager}"
    torch._dynamo.reset()
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    plain = kdmm.plan(student, steps=1)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    faster = kdmm.plan(student, [compiled], steps=1)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before
    for name in ("student, forward and backward", "teacher, forward"):
        assert faster.value(name).planned == plain.value(name).planned


def test_what_cannot_be_planned_is_named(student):
    with pytest.raises(InputError, match=r"module: TeacherModule has no teacher, so there is nothing to plan"):
        kdmm.plan("teacher.yaml", ["name=again"])
    with pytest.raises(InputError, match=r"steps: 0 given"):
        kdmm.plan(student, steps=0)
    assert load(student).name == "any"


def test_views_without_number_are_no_cache(student):
    plan = kdmm.plan(student, ["data.views=null"], steps=1)
    assert plan.value("answers to store").planned is None
    assert plan.value("storing pays after").planned is None
    assert "| storing pays after, epochs | - | - |" in plan.to_markdown()


def test_what_trains_fastest_is_measured(student, capsys, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(tuning, "cores", lambda: 3)
    seen = []
    measured = tuning.measure_steps

    def spy(settings, module, data, *more):
        timer, batches = measured(settings, module, data, *more)
        seen.append((data.workers, torch.get_num_threads(), [batch["id"] for batch in batches]))
        timer.took[WARM_UP:], timer.waited[WARM_UP:] = [0.1, 0.3], [0.1 / (1 + data.workers), 0.0]
        return timer, batches

    monkeypatch.setattr(tuning, "measure_steps", spy)
    assert main(["plan", str(student), "--tune", "--steps", "2"]) == 0
    assert [(workers, own) for workers, own, _ in seen] == [(0, 3), (1, 2), (2, 1)]
    assert seen[0][2] == seen[1][2] == seen[2][2]  # the same batches
    said = capsys.readouterr().out
    for workers, speed in ((0, 2 * BATCH / 0.5), (1, 2 * BATCH / 0.45), (2, 2 * BATCH / (0.4 + 0.1 / 3))):
        assert f"| {workers} | {3 - workers} | {speed:,.1f} |" in said
    assert "fastest: OMP_NUM_THREADS=1 kdmm fit ... data.workers=2" in said
    assert torch.get_num_threads() == threads
    assert not Path("runs/any").exists()
    with pytest.raises(InputError, match="steps: 0 given"):
        kdmm.tune(student, steps=0)
