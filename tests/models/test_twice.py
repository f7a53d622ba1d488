import torch
from torch import nn

from kdmm.losses import RDrop
from kdmm.models import Plain, Twice

X = {"inputs": torch.randn(64, 4)}


def model():
    return Twice(Plain(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))))


def test_two_answers_differ_by_what_dropout_drew_and_by_nothing_else():
    twice = model().train()
    torch.manual_seed(1)
    outputs = twice(X)
    torch.manual_seed(1)
    first, second = (twice.model(X)["logits"] for _ in range(2))
    assert torch.equal(outputs["logits"], first)
    assert torch.equal(outputs["logits_again"], second)
    assert not torch.equal(first, second)
    assert RDrop()(outputs, {}, {}) > 0


def test_in_evaluation_the_model_runs_once():
    twice = model().eval()
    calls = []
    twice.model.register_forward_hook(lambda *_: calls.append(1))
    outputs = twice(X)
    assert len(calls) == 1
    assert outputs["logits"] is outputs["logits_again"]
    assert RDrop()(outputs, {}, {}) == 0
