from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kdmm.analysis.cost import ModelCost, ObjectiveCost, saved_bytes, seconds_of
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


def test_a_models_cost_is_counted_and_leaves_it_as_it_was(part):
    model = Model().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    cost = ModelCost.of_student(model, part)
    assert torch.equal(torch.rand(1), expected)
    first, second = 2 * ROWS * WIDTH * HIDDEN, 2 * ROWS * HIDDEN * CLASSES
    assert cost.forward_flops == first + second
    assert cost.training_flops == 2 * first + 3 * second  # nothing asks for the gradient of the input
    sizes = [WIDTH * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES, CLASSES, CLASSES]
    assert cost.parameters == cost.trained == sum(sizes)
    assert cost.parameter_bytes == 4 * (sum(sizes) + 2 * CLASSES) + 8  # running means and variances, and a count
    assert cost.forward_s > 0
    assert cost.training_s == pytest.approx(cost.forward_s * cost.training_flops / cost.forward_flops)
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_answers_has_no_backward_pass(part):
    model = Model()
    model.requires_grad_(False)
    cost = ModelCost.of_teacher([model], lambda: model(part))
    assert cost.training_flops == cost.forward_flops == 2 * ROWS * HIDDEN * (WIDTH + CLASSES)
    assert cost.trained == cost.saved_bytes == 0


def test_what_is_kept_for_the_backward_pass_is_counted_once(part):
    weight = nn.Parameter(torch.ones(WIDTH))

    def call():
        scaled = part["x"] * weight  # keeps x; the parameter is there anyway
        return scaled.exp() + scaled.exp() * part["x"]  # keeps both exponentials, the second once more, and x again

    assert saved_bytes(call) == 3 * 4 * ROWS * WIDTH


def test_an_objectives_cost_leaves_its_state_as_it_was(part):
    logits = torch.randn(ROWS, CLASSES)
    objective = Objective({"soft": KD(), "hard": CrossEntropy("label")})
    said = {"logits": logits}
    cost = ObjectiveCost.of(objective, said, {"logits": -logits}, {"label": torch.zeros(ROWS, dtype=torch.long)})
    assert cost.flops == 0
    assert cost.seconds > 0
    assert cost.saved_bytes >= 4 * ROWS * CLASSES
    assert not logits.requires_grad


def test_seconds_are_the_median_after_a_call_that_does_not_count(monkeypatch):
    now = iter([0.0, 100.0, 0.0, 3.0, 0.0, 1.0, 0.0, 2.0])
    monkeypatch.setattr("kdmm.analysis.cost.time", SimpleNamespace(perf_counter=lambda: next(now)))
    assert seconds_of(lambda: None, torch.device("cpu")) == 2
