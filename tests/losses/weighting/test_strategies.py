"""What every strategy must hold."""

import copy
import io
import math

import pytest
import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.losses import Objective, Uncertainty, Weighting
from kdmm.targets import build as made_from
from kdmm.targets import node
from tests.losses.data import unit
from tests.losses.weighting.toys import STRATEGIES, Nothing, Pull, Towers, terms

every = pytest.mark.parametrize("build", STRATEGIES.values(), ids=STRATEGIES)
STEPS, PAUSE = 7, 3


class Run:
    """Towers in training by an objective, with Adam; what a checkpoint holds is in `state`."""

    def __init__(self, build, terms_of=terms):
        self.module = nn.ModuleDict({"student": Towers(), "objective": Objective(terms_of(), build()).double()})
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=0.05)
        self.objective = self.module["objective"]

    def step(self, i, steps=STEPS):
        self.objective.progress = i / steps
        total, parts = self.objective(self.module["student"](unit(6, 4, 100 + i)), {}, {})
        self.optimizer.zero_grad()
        total.backward()
        logged = self.objective.weights()
        self.optimizer.step()
        return {"total": total.item(), "parts": {name: part.item() for name, part in parts.items()}, "weights": logged}

    def state(self):
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state):
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@every
def test_a_resumed_run_goes_on_exactly(build):
    whole, begun, resumed = Run(build), Run(build), Run(build)
    expected = [whole.step(i) for i in range(STEPS)]
    assert [begun.step(i) for i in range(PAUSE)] == expected[:PAUSE]
    file = io.BytesIO()
    torch.save(begun.state(), file)
    file.seek(0)
    resumed.load(torch.load(file, weights_only=True))
    assert resumed.objective.weights() == begun.objective.weights()
    assert [resumed.step(i) for i in range(PAUSE, STEPS)] == expected[PAUSE:]
    assert same(resumed.module.state_dict(), whole.module.state_dict())


@every
def test_validation_moves_nothing(build):
    run = Run(build)
    for i in range(PAUSE):
        run.step(i)
    before, weights = copy.deepcopy(run.module.state_dict()), run.objective.weights()
    student = run.module["student"](unit(6, 4, 9))
    run.module.eval()
    values = [run.objective(student, {}, {})[0].item() for _ in range(3)]
    run.module.train()
    with torch.no_grad():
        values += [run.objective(student, {}, {})[0].item() for _ in range(3)]
    assert values == pytest.approx([values[0]] * 6)
    assert same(run.module.state_dict(), before)
    assert run.objective.weights() == weights


@every
def test_what_is_kept_moves_in_training(build):
    run = Run(build)
    before = copy.deepcopy(run.objective.weighting.state_dict())
    run.step(0)
    after = run.objective.weighting.state_dict()
    assert before
    assert not same(before, after)


@every
def test_the_total_is_of_the_weights_that_are_logged(build):
    run = Run(build)
    for i in range(STEPS):
        seen = run.step(i)
        price = 0.0
        if isinstance(run.objective.weighting, Uncertainty):
            price = -sum(math.log(weight) / 2 for weight in seen["weights"].values())
        weighted = sum(seen["weights"][name] * part for name, part in seen["parts"].items())
        assert seen["total"] == pytest.approx(weighted + price)


@every
def test_a_term_that_finds_nothing_leaves_everything_finite(build):
    def with_nothing():
        return {"near": Pull("image", 0.1), "far": Nothing("image"), "other": Nothing("text")}

    run = Run(build, with_nothing)
    for i in range(40):
        seen = run.step(i, 40)
        assert all(math.isfinite(weight) and weight >= 0 for weight in seen["weights"].values())
        assert math.isfinite(seen["total"])
    assert all(value.isfinite().all() for value in run.module.state_dict().values())


@every
def test_terms_are_taken_by_name_and_not_by_place(build):
    run, other = Run(build), Run(build)
    other.objective.terms = nn.ModuleDict(dict(reversed(terms().items())))
    for i in range(2):
        seen, expected = other.step(i), run.step(i)
        assert seen["weights"] == pytest.approx(expected["weights"])
        assert seen["total"] == pytest.approx(expected["total"])


@every
def test_what_is_kept_is_of_the_objectives_device_and_type(build):
    strategy = Objective(terms(), build()).double().weighting
    assert isinstance(strategy, Weighting)
    assert strategy.paper
    kept = [*strategy.parameters(), *strategy.buffers()]
    assert kept
    assert all(x.dtype in (torch.float64, torch.int64) for x in kept)


@every
def test_a_student_that_gives_half_precision_trains_too(build):
    x = {"image": unit(6, 3, 1, torch.bfloat16), "text": unit(6, 3, 2, torch.bfloat16)}
    x = {name: tensor.requires_grad_() for name, tensor in x.items()}
    objective = Objective({name: term.float() for name, term in terms().items()}, build())
    for term in objective.terms.values():
        term.goal = term.goal.float()
    for _ in range(5):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total, _ = objective(x, {}, {})
        total.backward()
    assert total.dtype is torch.float32
    assert all(tensor.grad.isfinite().all() and tensor.grad.dtype is torch.bfloat16 for tensor in x.values())


@every
def test_it_says_which_yaml_makes_it(build):
    tree = node(build())
    assert tree["_target_"].startswith("kdmm.losses.")
    assert "???" not in str(tree)
    assert node(made_from(tree)) == tree


@pytest.mark.parametrize("name", [name for name in STRATEGIES if not name.startswith("ModalityBalance")])
def test_one_term_alone_cannot_be_balanced(name):
    strategy = STRATEGIES[name]()
    strategy.given = None
    with pytest.raises(InputError, match=r"there is one alone: near\. Leave it out"):
        Objective({"near": Pull()}, strategy)


@pytest.mark.parametrize("name", ["DynamicWeightAverage", "PCGrad"])
def test_given_weights_of_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"Terms: near, fat, other\. Weights: near, far, other.*'fat'"):
        Objective({"near": Pull(), "fat": Pull(), "other": Pull()}, STRATEGIES[name]())
