import copy
import itertools

import pytest
import torch
from torch import nn

import kdmm
from kdmm.errors import InputError, NonFiniteLossError
from kdmm.losses import Affinity, Contrastive, FeatureMatch, Objective
from kdmm.models.preprocess import Preprocess
from kdmm.modules import MutualModule, Optimization
from tests.small_runs import STUDENT, experiment, folder_with_a_teacher, logged, same, weights

here = pytest.fixture(folder_with_a_teacher)


class Net(nn.Module):
    preprocess = Preprocess()

    def __init__(self, width=3):
        super().__init__()
        self.image, self.text = nn.Linear(4, width), nn.Linear(4, width)

    def forward(self, batch):
        outputs = {
            name: nn.functional.normalize(self.get_submodule(name)(batch[name]), dim=1) for name in ("image", "text")
        }
        return {**outputs, "logit_scale": torch.tensor(10.0)}


def module(**students):
    terms = {"hard": Contrastive(["image", "text"]), "soft": Affinity(["image", "text"])}
    objective = Objective(terms, {"hard": 1.0, "soft": 2.0})
    return MutualModule(students, objective, Optimization(), metrics={})


def batch(names):
    torch.manual_seed(1)
    rows = {"image": torch.randn(5, 4), "text": torch.randn(5, 4)}
    return {"id": list("abcde"), "caption_id": torch.arange(5), **dict.fromkeys(names, rows)}


def test_each_students_loss_is_the_mean_of_the_objective_with_every_other_as_its_teacher():
    torch.manual_seed(0)
    trio = module(a=Net(3), b=Net(5), c=Net(4))
    made = batch("abc")
    answers = trio.answers(made)
    for name in "abc":
        loss, parts = trio.loss_of(name, answers, made)
        each = [
            Affinity(["image", "text"])(answers[name], {k: v.detach() for k, v in answers[other].items()}, made)
            for other in "abc"
            if other != name
        ]
        hard = Contrastive(["image", "text"])(answers[name], {}, made)
        torch.testing.assert_close(parts["soft"], sum(each).detach() / 2)
        torch.testing.assert_close(parts["hard"], hard.detach())
        torch.testing.assert_close(loss, hard + 2 * sum(each) / 2)
        trio.zero_grad()
        loss.backward(retain_graph=True)
        moved = {other for other in "abc" if any(p.grad is not None for p in trio.students[other].parameters())}
        assert moved == {name}  # the others are constant for it


def test_terms_are_built_for_each_pair():
    objective = Objective({"image": FeatureMatch("image", "image")})
    trio = MutualModule({"a": Net(3), "b": Net(5), "c": Net(4)}, objective, Optimization(), metrics={})
    trio.dry_run(batch("abc"))
    assert trio.training
    shapes = {}
    for name, other in itertools.permutations("abc", 2):
        parameters = dict(trio.objective_of(name, other).named_parameters())
        shapes[name, other] = next(tuple(p.shape) for p in parameters.values() if p.ndim == 2)
    widths = {"a": 3, "b": 5, "c": 4}
    assert shapes == {(name, other): (widths[other], widths[name]) for name, other in shapes}
    names = [name for name, _ in trio.named_parameters()]
    assert len(names) == len(set(names)) == 3 * 4 + 6 * 2
    again = copy.deepcopy(trio)
    again.load_state_dict(trio.state_dict())


def test_the_first_student_is_the_runs_model():
    pair = module(a=Net(), b=Net())
    assert pair.model is pair.students["a"]
    tree = {"_target_": "x", "students": {"a": {"_target_": "y"}, "b": {"_target_": "z"}}, "objective": {}}
    assert MutualModule.model_tree(tree) == {"_target_": "y"}
    assert MutualModule.with_model(tree, pair.model)["students"] == {"a": pair.model, "b": {"_target_": "z"}}
    assert tree["students"]["a"] == {"_target_": "y"}
    outputs, teacher = pair.outputs(batch("ab"))
    assert outputs["image"].requires_grad
    assert teacher
    assert not any(x.requires_grad for x in teacher.values())
    assert pair.online() is pair
    assert list(pair.preprocess) == ["a"]
    assert pair.outputs(batch("a"))[1] == {}


def test_wrong_students_are_named():
    with pytest.raises(InputError, match=r"1 given.*StudentModule"):
        module(a=Net())
    for name in ("weight", "keys", "a-b"):
        with pytest.raises(InputError, match=f"called '{name}'"):
            module(**{"a": Net(), name: Net()})


def experiment_of_two(name="small", **changes):
    tree = experiment(name, **changes)
    module = tree["module"]
    wide = {**STUDENT, "image": {**STUDENT["image"], "stages": 2}, "embed_dim": 12}
    tree["module"] = {
        "_target_": "kdmm.modules.MutualModule",
        "students": {"narrow": STUDENT, "wide": wide},
        "objective": module["objective"],
        "optimization": module["optimization"],
    }
    return tree


def test_two_students_teach_each_other(here):
    run = kdmm.fit(experiment_of_two())
    rows = [row for row in logged(run.dir) if row["train/loss"]]
    assert len(rows) == 9
    assert {"train/hard", "train/image", "train/wide/loss", "train/wide/hard", "train/wide/image"} <= set(rows[0])
    for prefix in ("train", "train/wide"):
        for row in rows:
            expected = float(row[f"{prefix}/hard"]) + 10 * float(row[f"{prefix}/image"])
            assert float(row[f"{prefix}/loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(rows[-1]["train/wide/image"]) < float(rows[0]["train/wide/image"])
    state = torch.load(run.dir / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    kept = {
        name.removeprefix("students.narrow."): x for name, x in state.items() if name.startswith("students.narrow.")
    }
    assert same(kept, weights(run.dir))
    assert any(name.startswith("students.wide.") for name in state)
    assert "val/recall@5" in run.metrics
    assert "val/loss" in run.metrics
    assert run.record.teacher is None
    assert "test/recall@5" in kdmm.evaluate(run.dir)
    assert "val/recall@5" in kdmm.evaluate(run.dir, split="val")


def test_a_loss_of_either_student_that_is_not_finite_stops_the_run(here):
    tree = experiment_of_two()
    tree["module"]["optimization"]["optimizer"]["lr"] = 1e30
    with pytest.raises(NonFiniteLossError):
        kdmm.fit(tree)
