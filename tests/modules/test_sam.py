import copy
from functools import partial

import pytest
import torch
from torch.optim import SGD

from kdmm.errors import InputError
from kdmm.modules import SAM


def loss_of(w):
    return (w**4).sum() + (w[0] * w[1]).sum()


def closure(optimizer, w):
    def compute():
        optimizer.zero_grad()
        loss = loss_of(w)
        loss.backward()
        return loss

    return compute


def gradient(w):
    w = w.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(loss_of(w), w)
    return found


def test_a_step_goes_by_the_gradient_at_the_worst_point_nearby():
    w = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    before = w.detach().clone()
    optimizer = SAM([w], partial(SGD, lr=0.1), rho=0.3)
    loss = optimizer.step(closure(optimizer, w))
    g = gradient(before)
    expected = before - 0.1 * gradient(before + 0.3 * g / g.norm())
    torch.testing.assert_close(w.detach(), expected)
    torch.testing.assert_close(loss.detach(), loss_of(before))


def test_the_norm_is_over_all_parameters_and_groups():
    first, second = (torch.full((2,), x, requires_grad=True) for x in (1.0, 2.0))
    optimizer = SAM([{"params": [first]}, {"params": [second], "lr": 0.0}], partial(SGD, lr=0.1), rho=1.0)

    def compute():
        optimizer.zero_grad()
        loss = (first**2).sum() + (second**2).sum()
        loss.backward()
        return loss

    optimizer.step(compute)
    norm = (2 * 2.0**2 + 2 * 4.0**2) ** 0.5
    torch.testing.assert_close(first.detach(), torch.full((2,), 1 - 0.1 * 2 * (1 + 2 / norm)))
    assert torch.equal(second.detach(), torch.full((2,), 2.0))


def test_state_and_schedules_are_the_base_optimizers():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    optimizer = SAM([w], partial(SGD, lr=0.1, momentum=0.9))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.step(closure(optimizer, w))
    schedule.step()
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(0.05)
    copied = copy.deepcopy(w.detach()).requires_grad_()
    other = SAM([copied], partial(SGD, lr=0.1, momentum=0.9))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.step(closure(optimizer, w))
    other.step(closure(other, copied))
    assert torch.equal(w, copied)


def test_a_flat_place_stays():
    w = torch.zeros(2, requires_grad=True)
    optimizer = SAM([w], partial(SGD, lr=0.1))
    optimizer.step(closure(optimizer, w))
    assert torch.equal(w.detach(), torch.zeros(2))


@pytest.mark.parametrize("rho", [0.0, -1.0, float("nan")])
def test_rho_is_above_zero(rho):
    with pytest.raises(InputError, match=r"SAM.rho"):
        SAM([torch.zeros(1, requires_grad=True)], rho=rho)
