import math

import pytest
import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.modules import Optimization, WarmupCosine, parameter_groups


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_norms_biases_and_scales_do_not_decay_and_nothing_is_lost():
    net = Net()
    groups = parameter_groups(net, lr=0.1, weight_decay=0.5)
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(net.trunk.weight), id(net.head.weight)}
    everything = [id(p) for group in groups for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in net.parameters() if p.requires_grad)


def test_the_longest_fitting_prefix_scales_the_learning_rate():
    net = Net()
    groups = parameter_groups(net, 1.0, 0.0, {"trunk": 0.1, "trunk.bias": 0.5})
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rate[id(net.trunk.weight)] == 0.1
    assert rate[id(net.trunk.bias)] == 0.5
    assert rate[id(net.head.weight)] == 1.0
    with pytest.raises(InputError, match=r"begins with 'trnk'. Did you mean 'trunk'"):
        parameter_groups(net, 1.0, 0.0, {"trnk": 0.1})


def test_warm_up_rises_linearly_and_the_cosine_ends_at_final():
    schedule = WarmupCosine(warmup_steps=4, final=0.1)
    assert [schedule.factor(step, 20) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert schedule.factor(4, 20) == 1.0
    assert schedule.factor(12, 20) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert schedule.factor(20, 20) == pytest.approx(0.1)


def test_schedule_moves_every_group_by_steps():
    net = Net()
    optimization = Optimization(
        lambda groups: torch.optim.AdamW(groups, lr=0.2, weight_decay=0.3), WarmupCosine(2), {"trunk": 0.5}
    )
    configured = optimization.configure(net, steps=10)
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    assert {group["lr"] for group in optimizer.param_groups} == {0.1, 0.05}
    for _ in range(10):
        optimizer.step()
        scheduler.step()
    assert max(group["lr"] for group in optimizer.param_groups) == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="10 steps of warm-up, but the run has 10 steps"):
        Optimization(torch.optim.AdamW, WarmupCosine(10)).configure(net, steps=10)
