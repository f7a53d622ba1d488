import copy

import pytest
import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.losses import FeatureMatch, Objective, Term
from kdmm.teachers import Ensemble, LearnedWeights
from tests.teachers.test_ensemble import Says, random


class Divergence(Term):
    """KL(teacher || student) over the classes."""

    def forward(self, student, teacher, batch):
        log_p, log_q = teacher["logits"].detach().log_softmax(1), student["logits"].log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum(1).mean()

    @classmethod
    def reads(cls, arguments):
        return frozenset({"logits"}), frozenset({"logits"})


class Constant(Term):
    """What the teacher says."""

    def forward(self, student, teacher, batch):
        return teacher["loss"]

    @classmethod
    def reads(cls, arguments):
        return frozenset(), frozenset()


def test_weights_go_to_the_softmax_of_the_losses():
    losses, spread = torch.tensor([0.3, 1.0, 2.0]), 0.5
    term = LearnedWeights(Constant(), ["a", "b", "c"], spread)
    teacher = {f"{name}/loss": loss for name, loss in zip("abc", losses, strict=True)}
    assert term.weights() == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    torch.testing.assert_close(term({}, teacher, {}), losses.mean())  # equal weights cost nothing
    optimizer = torch.optim.Adam(term.parameters(), 0.05)
    for _ in range(500):
        optimizer.zero_grad()
        term({}, teacher, {}).backward()
        optimizer.step()
    expected = (-losses / spread).softmax(0)
    assert list(term.weights().values()) == pytest.approx(expected.tolist(), abs=1e-3)
    minimum = -spread * ((-losses / spread).logsumexp(0) - torch.tensor(3.0).log())
    torch.testing.assert_close(term({}, teacher, {}), minimum, atol=1e-5, rtol=1e-5)


def test_the_students_gradient_is_that_of_the_mean_of_probabilities():
    logits = {"a": {"logits": 2 * random(4, 5)}, "b": {"logits": 2 * random(4, 5, seed=1)}}
    term = LearnedWeights(Divergence(), ["a", "b"])
    term.scores.data = torch.tensor([0.2, -0.7])
    student = random(4, 5, seed=2).requires_grad_()
    answer = Ensemble({"a": Says(), "b": Says()}, weights=term.weights()).answer(logits)
    (weighted,) = torch.autograd.grad(term({"logits": student}, answer, {}), student)
    (mixed,) = torch.autograd.grad(Divergence()({"logits": student}, answer, {}), student)
    torch.testing.assert_close(weighted, mixed)


def test_it_trains_with_the_student_while_the_teachers_are_constant():
    a, b = random(4, 5).requires_grad_(), random(4, 5, seed=1).requires_grad_()
    objective = Objective({"kd": LearnedWeights(Divergence(), ["a", "b"])})
    student = random(4, 5, seed=2).requires_grad_()
    total, _ = objective({"logits": student}, {"a/logits": a, "b/logits": b}, {})
    total.backward()
    assert a.grad is None
    assert b.grad is None
    assert student.grad.abs().sum() > 0
    scores = dict(objective.named_parameters())["terms.kd.scores"]
    assert scores.grad.abs().sum() > 0
    assert scores.grad.sum() == pytest.approx(0, abs=1e-6)  # a softmax's


def test_each_teacher_has_adapters_of_its_own():
    term = LearnedWeights(FeatureMatch("s", "s"), ["a", "b"])
    student, teacher = {"s": random(4, 3)}, {"a/s": random(4, 5), "b/s": random(4, 7)}
    term.build(student, teacher, {})
    assert sorted(p.shape[0] for p in term.parameters() if p.ndim == 2) == [5, 7]
    assert torch.isfinite(term(student, teacher, {}))
    again = LearnedWeights(FeatureMatch("s", "s"), ["a", "b"])
    again.build(student, teacher, {})
    again.load_state_dict(copy.deepcopy(term.state_dict()))
    assert torch.equal(again(student, teacher, {}), term(student, teacher, {}))
    assert isinstance(term, nn.Module)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teachers": ["a"]}, "two or more different names"),
        ({"teachers": ["a", "a"]}, "two or more different names"),
        ({"teachers": "ab"}, "two or more different names"),
        ({"spread": -1.0}, "spread"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        LearnedWeights(**{"term": Divergence(), "teachers": ["a", "b"], **arguments})
    with pytest.raises(InputError, match="called 'c'"):
        LearnedWeights(Divergence(), ["a", "c"])({"logits": random(2, 3)}, {"a/logits": random(2, 3)}, {})
