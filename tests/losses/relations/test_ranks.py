"""Relations and contrasts of pairs where a rank has few samples or none: two processes give what one gives."""

import warnings

import pytest
import torch
from torch import nn

from kdmm.distributed import rank, world_size
from kdmm.losses import (
    CKA,
    CRD,
    PKT,
    RKD,
    AugmentedFeature,
    CorrelationCongruence,
    GradientDistillation,
    Objective,
    SigmoidDistillation,
    SimilarityPreserving,
)
from tests import two_processes
from tests.losses.data import flags, unit

B, RAW, D, E = 7, 4, 5, 6
FIRST_OF_RANK_1 = 5
NAMES, PAIR = ("audio", "image"), ["audio", "image"]
TERMS = {
    "rkd": lambda: RKD(*NAMES),
    "pkt": lambda: PKT(*NAMES),
    "similarity": lambda: SimilarityPreserving(*NAMES),
    "correlation": lambda: CorrelationCongruence(*NAMES),
    "cka": lambda: CKA(*NAMES),
    "crd": lambda: CRD(*NAMES, width=3, bank=9),
    "gradient": lambda: GradientDistillation(PAIR),
    "augmented": lambda: AugmentedFeature(PAIR),
    "sigmoid": lambda: SigmoidDistillation(PAIR),
    "sigmoid_fitted": lambda: SigmoidDistillation(PAIR, student_bias="fitted", teacher_bias="fitted"),
}
PRESENT = {  # of both modalities
    "some": "1011001",
    "rank 1 has nothing": "1101100",
    "rank 0 has nothing": "0000011",
    "one sample in all": "0010000",
    "nothing": "0000000",
}
STEPS = 2


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.audio, self.image = nn.Linear(RAW, D, bias=False), nn.Linear(RAW, D, bias=False)
        for seed, tower in enumerate((self.audio, self.image)):
            tower.weight.data = unit(D, RAW, seed)
        self.log_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))

    def forward(self, inputs):
        outputs = {"logit_scale": self.log_scale.exp(), "logit_bias": self.bias}
        for name, tower in (("audio", self.audio), ("image", self.image)):
            there = inputs[f"present/{name}"]  # a model gives constants where a whole batch lacks a modality
            embedding = (
                nn.functional.normalize(tower(inputs[name]), dim=1)
                if there.any()
                else torch.zeros(len(there), D, dtype=torch.float64)
            )
            outputs |= {name: torch.where(there[:, None], embedding, 0.0), f"present/{name}": there}
        return outputs


class Step(nn.Module):
    def __init__(self, terms):
        super().__init__()
        torch.manual_seed(0)
        self.objective = Objective({name: build() for name, build in terms.items()})
        ours, theirs = ({name: unit(2, width, 1) for name in NAMES} for width in (D, E))
        self.objective.build(ours, theirs, {})
        self.student = Student()
        self.double()

    def forward(self, case, number):
        here = [slice(0, FIRST_OF_RANK_1), slice(FIRST_OF_RANK_1, B)][rank()] if world_size() > 1 else slice(0, B)
        there = {f"present/{name}": flags(PRESENT[case])[here] for name in NAMES}
        inputs = {name: unit(B, RAW, 10 * number + at)[here] for at, name in enumerate(NAMES)}
        teacher = {name: unit(B, E, 10 * number + 5 + at)[here] for at, name in enumerate(NAMES)}
        scalars = {"logit_scale": torch.tensor(7.0), "logit_bias": torch.tensor(-3.0)}
        ids = [f"{(4 * number + at) % 9}" for at in range(B)][here]  # some come again, one twice in a batch
        return self.objective(self.student(inputs | there), teacher | there | scalars, {"id": ids})


def record(step):
    gradients = {
        f"gradient of {name}": torch.zeros_like(p) if p.grad is None else p.grad.detach().clone()
        for name, p in step.named_parameters()
    }
    return gradients | {f"buffer {name}": buffer.clone() for name, buffer in step.named_buffers()}


def steps(terms, case, wrap=lambda step: step):
    """Some steps of gradient descent, averaged by hand or by DDP: their totals, the last gradients and buffers."""
    step = Step(terms)
    module, totals = wrap(step), []
    for number in range(STEPS):
        step.zero_grad()
        total, _ = module(case, number)
        total.backward()
        if module is step:
            for p in step.parameters():  # as DDP does
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                if world_size() > 1:
                    torch.distributed.all_reduce(p.grad)
                    p.grad /= world_size()
        for p in step.parameters():
            p.data -= 0.01 * p.grad
        totals.append(total.detach())
    return {"totals": torch.stack(totals), **record(step)}


def each_term():
    return {f"{name} | {case}": steps({name: build}, case) for name, build in TERMS.items() for case in PRESENT}


def on_each_rank():
    warnings.simplefilter("ignore")  # DDP warns that it looked for unused parameters and found none
    wrapped = steps(TERMS, "some", lambda step: nn.parallel.DistributedDataParallel(step, find_unused_parameters=True))
    return each_term() | {"ddp": wrapped}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return two_processes.run(on_each_rank, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def alone():
    return each_term() | {"ddp": steps(TERMS, "some")}


@pytest.mark.parametrize("key", [*(f"{name} | {case}" for name in TERMS for case in PRESENT), "ddp"])
def test_values_gradients_and_buffers(ranks, alone, key):
    first, second = (each[key] for each in ranks)
    assert first.keys() == second.keys() == alone[key].keys()
    for entry, expected in alone[key].items():
        if entry.startswith("buffer"):
            assert torch.equal(first[entry], second[entry]), entry
        for found in ((first[entry] + second[entry]) / 2,) if entry == "totals" else (first[entry], second[entry]):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, msg=entry)
    if key.endswith("| nothing"):
        assert (alone[key]["totals"] == 0).all()
