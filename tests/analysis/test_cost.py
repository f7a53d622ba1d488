from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kdmm.analysis.cost import ModelCost, ObjectiveCost, seconds_of
from kdmm.losses import KD, CrossEntropy, Objective

ROWS, WIDTH, HIDDEN, CLASSES = 5, 7, 16, 3


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Dropout(0.5), nn.Linear(HIDDEN, CLASSES))
        self.norm = nn.BatchNorm1d(CLASSES)

    def forward(self, part):
        return {"logits": self.norm(self.layers(part["x"]))}


@pytest.fixture
def part():
    return {"x": torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr("kdmm.analysis.cost.LEAST_S", 0.0)


def test_a_models_cost_is_counted_and_leaves_it_as_it_was(part):
    model = Model().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    cost = ModelCost.of_student(model, part)
    assert torch.equal(torch.rand(1), expected)
    first, second = 2 * ROWS * WIDTH * HIDDEN, 2 * ROWS * HIDDEN * CLASSES
    assert cost.flops == 2 * first + 3 * second  # nothing asks for the gradient of the input
    sizes = [WIDTH * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES, CLASSES, CLASSES]
    assert cost.parameters == cost.trained == sum(sizes)
    assert cost.seconds > 0
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_is_frozen_is_not_trained(part):
    model = Model()
    model.layers[0].requires_grad_(False)
    cost = ModelCost.of_student(model, part)
    assert cost.parameters - cost.trained == WIDTH * HIDDEN + HIDDEN
    first, second = 2 * ROWS * WIDTH * HIDDEN, 2 * ROWS * HIDDEN * CLASSES
    assert cost.flops == first + 2 * second


def test_what_answers_has_no_backward_pass(part):
    model = Model()
    model.requires_grad_(False)
    cost = ModelCost.of_teacher([model], lambda: model(part))
    assert cost.flops == 2 * ROWS * HIDDEN * (WIDTH + CLASSES)
    assert cost.trained == 0


def test_an_objectives_cost_leaves_its_state_as_it_was(part):
    logits = torch.randn(ROWS, CLASSES)
    objective = Objective({"soft": KD(), "hard": CrossEntropy("label")})
    said = {"logits": logits}
    cost = ObjectiveCost.of(objective, said, {"logits": -logits}, {"label": torch.zeros(ROWS, dtype=torch.long)})
    assert cost.flops == 0
    assert cost.seconds > 0
    assert not logits.requires_grad


@pytest.mark.parametrize(("least", "expected"), [(0.0, (3 + 1) / 2), (5.0, (3 + 1 + 2) / 3)])
def test_seconds_are_the_mean_of_enough_calls_after_one_that_does_not_count(monkeypatch, least, expected):
    now = iter([0.0, 100.0, 0.0, 3.0, 0.0, 1.0, 0.0, 2.0])
    monkeypatch.setattr("kdmm.analysis.cost.LEAST_S", least)
    monkeypatch.setattr("kdmm.analysis.cost.time", SimpleNamespace(perf_counter=lambda: next(now)))
    assert seconds_of(lambda: None, torch.device("cpu")) == expected
