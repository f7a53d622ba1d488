from pathlib import Path

import pytest
import torch
from PIL import Image

import kdmm
from kdmm import run
from kdmm.cli import main
from kdmm.config import load
from kdmm.errors import InputError
from kdmm.runs import planning, tuning
from kdmm.runs.step_times import WARM_UP
from tests.test_comparison import STUDENT, TEACHER

VIEWS, BATCH = 3, 4
COUNT = {"train": 16, "val": 4}
KEY = 8  # bytes of a row
FOLDER = "{_target_: kdmm.data.ImageFolder, folder: pictures, label: digit}"


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr("kdmm.analysis.cost.LEAST_S", 0.0)


@pytest.fixture
def student(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split, count in COUNT.items():
        for number in range(count):
            path = Path(f"pictures/{split}/{number % 2}/{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 12), (10 * number, 0, 0)).save(path)
    own = TEACHER.replace("{_target_: kdmm.data.Digits, fold: 0}", FOLDER)
    Path("teacher.yaml").write_text(own.replace("batch_size: 64", f"batch_size: {BATCH}\n  views: {VIEWS}"))
    Path("student.yaml").write_text(STUDENT.replace("runs/none", "runs/teacher"))
    kdmm.fit("teacher.yaml", ["name=teacher"])
    return Path("student.yaml")


def test_a_plan_counts_what_it_says_beside_what_was_measured(student, capsys):
    plan = kdmm.plan(student, steps=3)
    rows = VIEWS * COUNT["train"] + COUNT["val"]
    numbers = 10 + 8  # logits and features of the teacher
    assert plan.value("answers to store").planned == pytest.approx(rows * (4 * numbers + KEY) / 1e6)
    convolutions = 2 * BATCH * 3 * 3 * (12 * 12 * 3 * 4 + 6 * 6 * 4 * 8)
    assert plan.value("teacher, forward").planned == pytest.approx((convolutions + 2 * BATCH * 8 * 10) / 1e9)
    batches = COUNT["train"] // BATCH
    for name in ("teacher running", "answers at hand"):
        step, epoch, wait = (plan.value(f"{what}, {name}") for what in ("step", "epoch", "wait for its data"))
        assert epoch.measured == pytest.approx((step.measured + wait.measured) / 1e3 * batches)
        assert epoch.planned == pytest.approx((step.planned + wait.measured) / 1e3 * batches)
    parts = sum(plan.value(f"a step's {part}").planned for part in ("student", "loss", "optimizer"))
    assert plan.value("step, answers at hand").planned == pytest.approx(parts)
    teacher = plan.value("a step's teacher").planned
    assert plan.value("step, teacher running").planned == pytest.approx(parts + teacher)
    pays, writing = plan.value("storing pays after").planned, plan.value("storing them").planned
    assert pays == pytest.approx(writing / (teacher / 1e3 * batches))
    assert writing > plan.value("wait for its data, teacher running").measured / 1e3 * rows / BATCH
    assert "- storing pays after: of what is measured, the epochs are, and the time to store" in plan.to_markdown()
    with pytest.raises(StopIteration):
        plan.value("nothing")
    assert not Path("runs/any").exists()
    assert main(["plan", str(student), "--steps", "1"]) == 0
    assert "measured over 1 steps on one cpu" in capsys.readouterr().out


def test_the_memory_of_a_step_is_the_sum_of_what_it_is_for(student):
    plan = kdmm.plan(student, ["module.optimization.optimizer={_target_: torch.optim.SGD, _partial_: true, lr: 0.1}"])
    trained = 3 * 3 * 3 * 4 + 2 * 4 + 4 * 10 + 10  # a convolution, batch norm, a linear layer
    assert plan.value("student, trained parameters").planned == pytest.approx(trained / 1e6)
    assert plan.value("gradients").planned == pytest.approx(4 * trained / 1e6)
    assert plan.value("optimizer's states").planned == 0
    names = ("weights", "teacher's weights", "gradients", "batch, and what is kept for the backward pass")
    running, kept = (plan.value(f"peak memory, {way}") for way in ("teacher running", "answers at hand"))
    assert running.planned == pytest.approx(sum(plan.value(name).planned for name in names))
    assert kept.planned <= running.planned - plan.value("teacher's weights").planned
    for each in (running, kept):
        assert 0.7 * each.measured < each.planned <= each.measured  # kernels take some kilobytes for themselves


def test_a_store_is_as_large_as_planned_and_planned_with_alone(student):
    plan = kdmm.plan(student, steps=1)
    planned = {line.unit: line.planned for line in plan.lines if line.what == "answers to store"}
    written = run.cache(student, store="stores/digits")
    assert 0 < written.size_bytes - 1e6 * planned["MB in float16"] < 2 * 400  # the headers of two files
    cached = "module.teacher={_target_: kdmm.teachers.Cached, store: stores/digits}"
    alone = kdmm.plan(student, [cached], steps=1)
    assert alone.value("answers in the store").measured == written.size_bytes / 1e6
    assert alone.value("storing pays after").planned is None
    assert "- storing pays after" not in alone.to_markdown()
    assert "the store does not say how long it took" in alone.to_markdown()
    assert alone.value("step, answers at hand").measured > 0
    assert not any("teacher running" in line.what for line in alone.lines)
    assert alone.value("peak memory, answers at hand").planned == pytest.approx(
        plan.value("peak memory, answers at hand").planned, rel=0.1
    )


def test_a_teacher_that_changes_has_no_answers_to_keep(student):
    plan = kdmm.plan(student, ["module.teacher={_target_: kdmm.teachers.MovingAverage}"], steps=1)
    assert plan.value("step, teacher running").planned > 0
    assert not any("answers at hand" in line.what for line in plan.lines)
    assert "change in training" in plan.to_markdown()
    assert plan.value("teacher's weights").planned == pytest.approx(plan.value("weights").planned)


def test_a_step_of_several_batches_is_one(student):
    once, twice = (kdmm.plan(student, [f"trainer.accumulate_grad_batches={n}"], steps=1) for n in (1, 2))
    for what in ("student, forward and backward", "teacher, forward"):
        assert twice.value(what).planned == pytest.approx(2 * once.value(what).planned)
    found = [twice.value(f"{what}, teacher running").measured for what in ("step", "wait for its data", "epoch")]
    assert found[2] == pytest.approx((found[0] + found[1]) / 1e3 * (COUNT["train"] // BATCH) / 2)


def test_with_the_answers_at_hand_the_same_batches_are_trained(student, monkeypatch):
    seen = []
    measured = planning.measure_steps

    def spy(settings, module, data, *more):
        timer = measured(settings, module, data, *more)
        seen.append((module.teacher, timer.ids))
        return timer

    batches = []
    heard = planning.Heard._hear
    monkeypatch.setattr(planning, "measure_steps", spy)
    monkeypatch.setattr(planning.Heard, "_hear", lambda self, batch: (batches.append(batch), heard(self, batch))[1])
    kdmm.plan(student, steps=2)
    (online, first), (kept, second) = seen
    assert first == second == [batch["id"] for batch in batches]
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
    assert "views: null: each pass has new ones" in plan.to_markdown()


def test_what_trains_fastest_is_measured(student, capsys, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(tuning, "cores", lambda: 3)
    seen = []
    measured = tuning.measure_steps

    def spy(settings, module, data, *more):
        timer = measured(settings, module, data, *more)
        seen.append((data.workers, torch.get_num_threads(), timer.ids))
        timer.took[WARM_UP:], timer.waited[WARM_UP:] = [0.1, 0.3], [0.1 / (1 + data.workers), 0.0]
        return timer

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
