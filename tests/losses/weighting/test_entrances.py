import math

import pytest
import torch

from kdmm.losses import PCGrad
from kdmm.losses.weighting.entrances import combined, entrances, gradients_at, inner_product, steered
from tests.losses.data import scalar, unit


def watched(outputs):
    return PCGrad().watched(outputs)


def leaf(rows=4, width=3, seed=1, dtype=torch.float64):
    return unit(rows, width, seed, dtype).requires_grad_()


def test_what_flows_on_from_another_output_is_not_counted_twice():
    tap = leaf()
    outputs = watched({"tap": tap, "image": 2 * tap})
    value = (3 * outputs["tap"]).sum() + (5 * outputs["image"]).sum()
    found = gradients_at(entrances(outputs), value)
    assert (found["tap"] == 3).all()
    assert (found["image"] == 5).all()
    value.backward()
    assert (tap.grad == 3 + 2 * 5).all()


def test_a_constant_takes_part_in_the_backward_pass_but_has_no_gradient():
    outputs = watched({"image": leaf(), "text": unit(4, 3, 2)})
    assert outputs["text"].requires_grad
    assert list(entrances(outputs)) == ["image", "text"]
    assert list(gradients_at(entrances(outputs), (outputs["image"] * outputs["text"]).sum())) == ["image"]
    assert gradients_at(entrances(outputs), outputs["text"].sum()) == {}


def test_scalars_flags_and_labels_stay_what_they_are():
    given = {"logit_scale": scalar(9.0, True), "present/image": torch.ones(4, dtype=torch.bool), "n": torch.arange(4)}
    outputs = watched(given)
    assert all(outputs[name] is x for name, x in given.items())
    assert entrances(outputs) == {}
    assert gradients_at({}, scalar(1.0, True)) == {}


def test_gradients_of_half_precision_outputs_do_not_vanish():
    x = leaf(dtype=torch.float16)
    outputs = watched({"image": x})
    found = gradients_at(entrances(outputs), (1e-12 * outputs["image"]).sum())
    assert found["image"].dtype is torch.float32
    torch.testing.assert_close(found["image"], torch.full((4, 3), 1e-12))
    torch.testing.assert_close(inner_product(found, found, scalar(0.0)), scalar(12e-24))


def test_a_value_without_gradient_has_none_anywhere():
    outputs = watched({"image": leaf()})
    assert gradients_at(entrances(outputs), scalar(1.0)) == {}


@pytest.mark.parametrize("by", ["eval", "no_grad"])
def test_outside_training_outputs_are_passed_on_as_they_are(by):
    strategy, outputs = PCGrad(), {"image": leaf()}
    with torch.set_grad_enabled(by != "no_grad"):
        assert strategy.train(by != "eval").watched(outputs) is outputs


def test_inner_products_and_sums_over_places():
    a, b = {"x": torch.tensor([[1.0, 2.0]]), "y": torch.tensor([3.0])}, {"x": torch.tensor([[5.0, -1.0]])}
    assert inner_product(a, b, scalar(0.0)) == 3
    assert inner_product({"y": a["y"]}, b, scalar(0.0)) == 0
    assert inner_product(a, a, scalar(0.0)) == 14
    total = combined([a, b], [2.0, -1.0])
    assert total["x"].tolist() == [[-3, 5]]
    assert total["y"].tolist() == [6]


def test_steering_changes_gradients_and_nothing_else():
    x, y, junk = leaf(seed=1), leaf(seed=2), leaf(seed=3)
    with torch.no_grad():
        junk[0] = math.nan
    total = (x * x).sum() + (2 * y).sum() + junk[1:].sum()
    change = {"x": torch.full_like(x, 7.0), "junk": torch.zeros_like(junk)}
    moved = steered(total, {"x": x, "y": y, "junk": junk}, change)
    assert moved == total
    (10 * moved).backward()  # as a loss scaler does
    torch.testing.assert_close(x.grad, 10 * (2 * x.detach() + 7))
    assert (y.grad == 20).all()
    assert junk.grad.tolist() == [[0] * 3, *[[10] * 3] * 3]


def test_without_changes_steering_is_the_total():
    total = leaf().sum()
    moved = steered(total, {}, {})
    assert moved == total
