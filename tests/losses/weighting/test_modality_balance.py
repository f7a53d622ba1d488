import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import Linear, ModalityBalance, Objective, modality_scales
from tests.losses.data import unit
from tests.losses.weighting.toys import Pull

TERMS = {"a": lambda: Pull("image", 1.0, 3.0), "b": lambda: Pull("text", 1.0), "c": lambda: Pull("image", 0.0, 2.0)}


def test_the_dominant_modality_is_scaled_as_the_paper_does():
    assert modality_scales([3.0, 1.0], 0.5) == pytest.approx([1 - math.tanh(0.5 * 2), 1])
    assert modality_scales([1.0, 4.0], 0.1) == pytest.approx([1, 1 - math.tanh(0.1 * 3)])
    assert modality_scales([2.0, 2.0], 0.5) == [1, 1]
    assert modality_scales([9.0, 1.0], 0.0) == [1, 1]


def test_of_more_than_two_each_above_the_others_mean_is_scaled():
    scales = modality_scales([3.0, 3.0, 1.0], 1.0)
    assert scales == pytest.approx([1 - math.tanh(0.5), 1 - math.tanh(0.5), 1])


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([5.0, 0.0], [1, 1]),
        ([0.0, 0.0], [1, 1]),
        ([math.nan, 1.0], [1, 1]),
        ([math.inf, 1.0], [1, 1]),
        ([2.0, 0.0, 1.0], [1 - math.tanh(1), 1, 1]),
    ],
)
def test_a_modality_without_gradient_is_no_measure(norms, expected):
    assert modality_scales(norms, 1.0) == pytest.approx(expected)


def outputs(rows=4):
    return {"image": unit(rows, 3, 1).requires_grad_(), "text": unit(rows, 3, 2).requires_grad_()}


def train(strategy, student, progress=0.0):
    objective = Objective({name: build() for name, build in TERMS.items()}, strategy)
    objective.progress = progress
    total, parts = objective(student, {}, {})
    total.backward()
    return objective, total, parts


def plain(student, weights):
    image, text = (student[name].detach() for name in ("image", "text"))
    return weights["a"] * 3 * (image - 1) / 4 + weights["c"] * 2 * image / 4, weights["b"] * (text - 1) / 4


def test_values_are_the_weighted_sum_and_gradients_are_scaled():
    weights, student = {"a": 1.0, "b": 0.5, "c": 2.0}, outputs()
    objective, total, parts = train(ModalityBalance(["image", "text"], 0.2, weights=weights), student)
    assert total.item() == pytest.approx(sum(weights[name] * part.item() for name, part in parts.items()))
    assert objective.weights() == weights
    image, text = plain(student, weights)
    ratio = (image.norm() / text.norm()).item()
    assert ratio > 1
    torch.testing.assert_close(student["image"].grad, (1 - math.tanh(0.2 * (ratio - 1))) * image)
    torch.testing.assert_close(student["text"].grad, text)


def test_schedules_weigh_the_terms():
    strategy = ModalityBalance(["image", "text"], 0.2, weights={"a": 0, "b": Linear(0, 4), "c": 0})
    student = outputs()
    objective, *_ = train(strategy, student, 0.5)
    assert objective.weights() == {"a": 0, "b": 2, "c": 0}
    torch.testing.assert_close(student["text"].grad, 2 * (student["text"].detach() - 1) / 4)


def test_one_term_is_enough():
    student = outputs()
    objective = Objective({"a": TERMS["a"]()}, ModalityBalance(["image", "text"], 0.2))
    objective(student, {}, {})[0].backward()
    torch.testing.assert_close(student["image"].grad, 3 * (student["image"].detach() - 1) / 4)


def test_outputs_that_are_not_named_keep_their_gradients():
    student = {**outputs(), "tap": unit(4, 3, 5).requires_grad_()}
    terms = {name: build() for name, build in TERMS.items()} | {"d": Pull("tap", 9.0, 100.0)}
    Objective(terms, ModalityBalance(["image", "text"], 0.2))(student, {}, {})[0].backward()
    torch.testing.assert_close(student["tap"].grad, 100 * (student["tap"].detach() - 9) / 4)


def noise(steps, student):
    strategy = ModalityBalance(["image", "text"], 0.0, noise=True)
    strategy.steps.fill_(steps)
    train(strategy, student)
    weights = dict.fromkeys(TERMS, 1.0)
    return [student[name].grad - each for name, each in zip(("image", "text"), plain(student, weights), strict=True)]


def test_noise_is_drawn_from_the_number_of_the_step():
    first, again, other = noise(3, outputs()), noise(3, outputs()), noise(4, outputs())
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a, b)
        assert not torch.allclose(a, c)


def test_noise_has_the_gradients_root_mean_square():
    squares = [[], []]
    for step in range(200):
        for all_of, drawn in zip(squares, noise(step, outputs()), strict=True):
            all_of.append(drawn.square().mean())
    gradients = plain(outputs(), dict.fromkeys(TERMS, 1.0))
    for all_of, gradient in zip(squares, gradients, strict=True):
        torch.testing.assert_close(torch.stack(all_of).mean(), gradient.square().mean(), rtol=0.1, atol=0)


@pytest.mark.parametrize("with_noise", [False, True])
def test_absent_rows_may_hold_anything_and_get_no_noise(with_noise):
    student = outputs()
    with torch.no_grad():
        student["text"][2] = torch.nan
    student["present/text"] = torch.tensor([True, True, False, True])
    _, total, _ = train(ModalityBalance(["image", "text"], 0.2, with_noise), student)
    assert total.isfinite()
    assert (student["text"].grad[2] == 0).all()
    assert all(student[name].grad.isfinite().all() for name in ("image", "text"))


def test_evaluation_counts_no_step():
    objective = Objective({"a": TERMS["a"]()}, ModalityBalance(["image", "text"], 0.2, noise=True)).eval()
    objective(outputs(), {}, {})
    assert objective.weighting.steps == 0


@pytest.mark.parametrize("modalities", ["image", ["image"], ["image", "image"], []])
def test_fewer_than_two_modalities_are_refused(modalities):
    with pytest.raises(InputError, match="two or more names"):
        ModalityBalance(modalities, 0.5)


def test_a_modality_that_the_student_does_not_give_is_named():
    objective = Objective({"a": TERMS["a"]()}, ModalityBalance(["image", "audio"], 0.5))
    with pytest.raises(InputError, match=r"student\.audio"):
        objective(outputs(), {}, {})


def test_a_negative_alpha_is_refused():
    with pytest.raises(InputError, match="ModalityBalance: alpha is -1"):
        ModalityBalance(["image", "text"], -1)
