"""Each weighting strategy in two processes: values, gradients, weights and what is kept, over several steps, of one."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdmm.distributed import rank, world_size
from kdmm.losses import (
    Affinity,
    Contrastive,
    DynamicWeightAverage,
    FeatureMatch,
    GradNorm,
    Linear,
    ModalityBalance,
    Objective,
    PCGrad,
    Uncertainty,
)
from tests import two_processes
from tests.losses.data import flags, unit

B, RAW, D, E, STEPS = 7, 4, 5, 6, 5
FIRST_OF_RANK_1 = 5  # rank 0 has 5 samples, rank 1 has 2
PAIR = ["image", "text"]
BASE = {"contrast": 1, "affinity": Linear(0, 2), "match": 3.0}
STRATEGIES = {
    "Uncertainty": Uncertainty,
    "DynamicWeightAverage": lambda: DynamicWeightAverage(2, weights=BASE),
    "GradNorm": lambda: GradNorm(alpha=1.5, lr=0.1),
    "PCGrad": lambda: PCGrad(BASE),
    "ModalityBalance": lambda: ModalityBalance(PAIR, alpha=0.8, weights=BASE),
    "ModalityBalance, noise": lambda: ModalityBalance(PAIR, alpha=0.8, noise=True, weights=BASE),
}
MODALITIES_PRESENT = {  # images, texts
    "all": ("1111111", "1111111"),
    "rank 1 without text": ("1111111", "1101100"),
    "no text anywhere": ("1101111", "0000000"),
    "nothing anywhere": ("0000000", "0000000"),
}


class Student(nn.Module):
    """Two towers, a tap that the image is computed from, and a scale; gives a constant where nothing has a modality."""

    def __init__(self):
        super().__init__()
        self.towers = nn.ModuleDict({name: nn.Linear(RAW, D, bias=False) for name in PAIR})
        for seed, tower in enumerate(self.towers.values()):
            tower.weight.data = unit(D, RAW, seed, torch.float64)
        self.log_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, inputs):
        outputs = {"logit_scale": self.log_scale.exp()}
        for name, tower in self.towers.items():
            there = inputs[f"present/{name}"]
            features = tower(inputs[name]) if there.any() else inputs[name].new_zeros(len(there), D)
            outputs |= {f"{name}_tap": features, f"present/{name}_tap": there, f"present/{name}": there}
            outputs[name] = torch.where(there[:, None], F.normalize(features, dim=1), 0.0)
        return outputs


class Step(nn.Module):
    """What a LightningModule holds: a student and an objective; forward is one training step's loss."""

    def __init__(self, strategy):
        super().__init__()
        torch.manual_seed(0)
        terms = {
            "contrast": Contrastive(PAIR),
            "affinity": Affinity(PAIR, teacher_temperature=0.2),
            "match": FeatureMatch("image_tap", "image"),
        }
        self.objective = Objective(terms, STRATEGIES[strategy]())
        terms["match"].build({"image_tap": unit(1, D, 1)}, {"image": unit(1, E, 1)}, {})
        self.objective.double()
        self.student = Student()

    def forward(self, case, step):
        here = [slice(0, FIRST_OF_RANK_1), slice(FIRST_OF_RANK_1, B)][rank()] if world_size() > 1 else slice(0, B)
        there = {f"present/{m}": flags(f)[here] for m, f in zip(PAIR, MODALITIES_PRESENT[case], strict=True)}
        inputs = {"image": unit(B, RAW, 30 + step)[here], "text": unit(B, RAW, 40 + step)[here], **there}
        teacher = {"image": unit(B, E, 50 + step)[here], "text": unit(B, E, 60 + step)[here], **there}
        self.objective.progress = step / STEPS
        return self.objective(self.student(inputs), teacher, {})


def gradients(step):
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for n, p in step.named_parameters()}


def trained(strategy, case, wrap):
    """Gradient descent: each step's total and weights, the last gradients, and all that is in a checkpoint."""
    step = Step(strategy)
    module, totals, weights = wrap(step), [], []
    for i in range(STEPS):
        step.zero_grad()
        total, _ = module(case, i)
        total.backward()
        totals.append(total.detach())
        weights.append(torch.tensor(list(step.objective.weights().values()), dtype=torch.float64))
        for p in step.parameters():  # by hand: the first torch.optim object of a process costs seconds of imports
            p.data -= 0 if p.grad is None else 0.05 * p.grad
    state = {f"state {name}": x.clone() for name, x in step.state_dict().items()}
    return {"totals": torch.stack(totals), "weights": torch.stack(weights), **gradients(step), **state}


def first_step(strategy, case):
    """The total and all gradients of the first step, without DDP: the mean over ranks is the value."""
    step = Step(strategy)
    total, parts = step(case, 0)
    total.backward()
    return {"total": total.detach(), **{f"part {name}": part for name, part in parts.items()}, **gradients(step)}


def ddp(step):
    return nn.parallel.DistributedDataParallel(step, find_unused_parameters=True, bucket_cap_mb=1e-5)


def on_each_rank():
    warnings.simplefilter("ignore")  # DDP warns where it looked for unused parameters and found none
    cells = [(strategy, case) for strategy in STRATEGIES for case in MODALITIES_PRESENT]
    return {
        "first": {f"{s} | {c}": first_step(s, c) for s, c in cells},
        "trained": {f"{s} | {c}": trained(s, c, ddp) for s, c in cells},
    }


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return two_processes.run(on_each_rank, tmp_path_factory.mktemp("ranks"))


every = pytest.mark.parametrize("case", MODALITIES_PRESENT)
each = pytest.mark.parametrize("strategy", STRATEGIES)


@each
@every
def test_value_and_every_gradient_of_a_step(ranks, strategy, case):
    expected = first_step(strategy, case)
    first, second = (two["first"][f"{strategy} | {case}"] for two in ranks)
    assert first.keys() == expected.keys()
    for entry, value in expected.items():
        torch.testing.assert_close((first[entry] + second[entry]) / 2, value, rtol=1e-9, atol=1e-12, msg=entry)
    if case != "nothing anywhere":
        assert sum(x.abs().sum() for name, x in expected.items() if name.startswith("student")) > 0


@each
@every
def test_training_under_ddp(ranks, strategy, case):
    expected = trained(strategy, case, lambda step: step)
    found = [copy.copy(two["trained"][f"{strategy} | {case}"]) for two in ranks]
    totals = torch.stack([each.pop("totals") for each in found]).mean(0)
    torch.testing.assert_close(totals, expected.pop("totals"), rtol=1e-8, atol=1e-11)
    for entry, value in expected.items():
        assert torch.equal(found[0][entry], found[1][entry]), f"the ranks differ in {entry}"
        torch.testing.assert_close(found[0][entry], value, rtol=1e-8, atol=1e-11, msg=entry)
    if case == "all" and strategy in ("Uncertainty", "DynamicWeightAverage", "GradNorm"):
        assert not torch.allclose(expected["weights"][0], expected["weights"][-1])
