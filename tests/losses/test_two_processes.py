"""Two processes give the value and every gradient of one, with unequal batches and missing modalities."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdmm.distributed import rank, world_size
from kdmm.losses import Affinity, Contrastive, FeatureMatch, InteractiveContrastive, Linear, Objective
from tests import two_processes
from tests.losses.data import flags, unit

B, RAW, D, E = 7, 4, 5, 6
FIRST_OF_RANK_1 = 5  # rank 0 has 5 samples, rank 1 has 2
PAIR = ["image", "text"]
TERMS = {
    "contrastive": lambda: Contrastive(PAIR),
    "contrastive, duplicates apart": lambda: Contrastive(PAIR, duplicates="negative"),
    "sigmoid": lambda: Contrastive(PAIR, form="sigmoid"),
    "affinity": lambda: Affinity(PAIR),
    "affinity, temperatures": lambda: Affinity(PAIR, teacher_temperature=0.2, student_temperature=0.3),
    "affinity, pairs": lambda: Affinity(PAIR, over="pairs"),
    "feature": lambda: FeatureMatch("image", "image"),
    "feature across": lambda: FeatureMatch("text", "image", distance="cosine"),
    "interactive": lambda: InteractiveContrastive(PAIR),
    "interactive, temperature": lambda: InteractiveContrastive(PAIR, temperature=0.1),
}
MODALITIES_PRESENT = {  # images, texts
    "all": ("1111111", "1111111"),
    "some": ("1101110", "0111011"),
    "rank 1 without text": ("1111111", "1101100"),
    "rank 0 without images": ("0000011", "1111111"),
    "rank 1 with nothing": ("1111100", "1101100"),
    "no text anywhere": ("1101111", "0000000"),
    "nothing anywhere": ("0000000", "0000000"),
}
CAPTION_ID = [0, 1, 2, 0, 3, 1, 4]  # duplicates within rank 0 and across ranks
DDP_CASES = ["all", "rank 1 without text", "nothing anywhere"]


class Student(nn.Module):
    """Two linear towers, a scale and a bias; gives constants where a whole batch lacks a modality, as models may."""

    def __init__(self, dtype):
        super().__init__()
        self.towers = nn.ModuleDict({name: nn.Linear(RAW, D, bias=False) for name in PAIR})
        for seed, tower in enumerate(self.towers.values()):
            tower.weight.data = unit(D, RAW, seed, torch.float32)
        self.log_scale, self.bias = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(-2.0))
        self.to(dtype)

    def forward(self, inputs):
        outputs = {"logit_scale": self.log_scale.exp(), "logit_bias": self.bias}
        for name, tower in self.towers.items():
            there = inputs[f"present/{name}"]
            embedding = (
                F.normalize(tower(inputs[name]), dim=1) if there.any() else inputs[name].new_zeros(len(there), D)
            )
            outputs |= {name: torch.where(there[:, None], embedding, 0.0), f"present/{name}": there}
        return outputs


class Step(nn.Module):
    """What a LightningModule holds: a student and an objective; forward is one training step's loss."""

    def __init__(self, terms, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.objective = Objective({name: build() for name, build in terms.items()})
        ours, theirs = ({"image": unit(1, width, 1), "text": unit(1, width, 1)} for width in (D, E))
        self.objective.build(ours, theirs, {})
        self.objective.to(dtype)
        self.student = Student(dtype)

    def forward(self, case, dtype):
        here = [slice(0, FIRST_OF_RANK_1), slice(FIRST_OF_RANK_1, B)][rank()] if world_size() > 1 else slice(0, B)
        there = {f"present/{m}": flags(f)[here] for m, f in zip(PAIR, MODALITIES_PRESENT[case], strict=True)}
        inputs = {"image": unit(B, RAW, 3, dtype)[here], "text": unit(B, RAW, 4, dtype)[here], **there}
        teacher = {"image": unit(B, E, 5, dtype)[here], "text": unit(B, E, 6, dtype)[here], **there}
        teacher["logit_scale"] = torch.tensor(7.0, dtype=dtype)
        return self.objective(self.student(inputs), teacher, {"caption_id": torch.tensor(CAPTION_ID)[here]})


def gradients(step):
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for name, p in step.named_parameters()
    }


def each_term(dtype, cases):
    """This rank's value and gradients of each term in each case; DDP takes their mean over ranks."""
    results = {}
    for name, build in TERMS.items():
        for case in cases:
            step = Step({"term": build}, dtype)
            total, parts = step(case, dtype)
            total.backward()
            results[f"{name} | {case}"] = {"value": parts["term"], "total": total.detach(), **gradients(step)}
    return results


def trained(case, wrap):
    """Two steps of gradient descent on all terms, one weight scheduled: totals, last gradients and parameters."""
    step = Step({name.replace(", ", "_").replace(" ", "_"): build for name, build in TERMS.items()}, torch.float64)
    step.objective.weighting.schedules["affinity"] = Linear(0, 2)
    module, totals = wrap(step), []
    for progress in (0.5, 1.0):
        step.objective.progress = progress
        step.zero_grad()
        total, _ = module(case, torch.float64)
        total.backward()
        for p in step.parameters():  # by hand: the first torch.optim object of a process costs seconds of imports
            p.data -= 0 if p.grad is None else 0.01 * p.grad
        totals.append(total.detach())
    return {
        "totals": torch.stack(totals),
        **gradients(step),
        **{f"new {n}": p.data for n, p in step.named_parameters()},
    }


def everything():
    return {
        "float64": each_term(torch.float64, MODALITIES_PRESENT),
        "float32": each_term(torch.float32, ["rank 1 without text"]),
    }


def ddp(step, unused):
    # One parameter a bucket, as in a large model: the text tower's, the last, is averaged as soon as it is known to be
    # unused, which on that rank is before the backward pass of `gather`.
    return nn.parallel.DistributedDataParallel(step, find_unused_parameters=unused, bucket_cap_mb=1e-5)


def on_each_rank():
    warnings.simplefilter("ignore")  # DDP warns that it looked for unused parameters and, in one case, found none
    results = everything()
    for case in DDP_CASES:
        unused = case != "all"  # a tower without input on one rank
        results[case] = trained(case, lambda step, unused=unused: ddp(step, unused))
    return results


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return two_processes.run(on_each_rank, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def alone():
    return everything()


@pytest.mark.parametrize(
    ("dtype", "tolerance", "case"),
    [*(("float64", 1e-12, case) for case in MODALITIES_PRESENT), ("float32", 1e-6, "rank 1 without text")],
)
@pytest.mark.parametrize("name", TERMS)
def test_value_and_every_gradient(ranks, alone, name, case, dtype, tolerance):
    one, key = alone[dtype], f"{name} | {case}"
    assert ranks[0][dtype][key].keys() == one[key].keys()
    for entry, expected in one[key].items():
        mean = (ranks[0][dtype][key][entry] + ranks[1][dtype][key][entry]) / 2
        torch.testing.assert_close(mean, expected, rtol=tolerance, atol=tolerance, msg=entry)
    if case in ("all", "some"):
        assert one[key]["value"] > 0
        assert sum(g.abs().sum() for entry, g in one[key].items() if entry.endswith("weight")) > 0
    if case == "nothing anywhere":
        assert all((entry == 0).all() for entry in one[key].values())


@pytest.mark.parametrize("case", DDP_CASES)
def test_training_under_ddp(ranks, case):
    expected = trained(case, lambda step: step)
    mean = (ranks[0][case].pop("totals") + ranks[1][case].pop("totals")) / 2
    torch.testing.assert_close(mean, expected.pop("totals"), rtol=1e-9, atol=1e-12)
    for two in ranks:
        for entry, value in expected.items():
            torch.testing.assert_close(two[case][entry], value, rtol=1e-9, atol=1e-12, msg=entry)
