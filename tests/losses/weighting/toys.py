"""Terms whose gradients are known, and a student of two towers."""

import torch
from torch import nn

from kdmm.losses import DynamicWeightAverage, GradNorm, ModalityBalance, PCGrad, SampleTerm, Uncertainty
from kdmm.outputs import present, scatter_present
from tests.losses.data import unit

STRATEGIES = {
    "Uncertainty": Uncertainty,
    "DynamicWeightAverage": lambda: DynamicWeightAverage(2, weights={"near": 1, "far": 0.5, "other": 2}),
    "GradNorm": lambda: GradNorm(alpha=1, lr=0.1),
    "PCGrad": lambda: PCGrad({"near": 1, "far": 0.5, "other": 2}),
    "ModalityBalance": lambda: ModalityBalance(["image", "text"], alpha=0.5),
    "ModalityBalance, noise": lambda: ModalityBalance(["image", "text"], alpha=0.5, noise=True),
}


class Pull(SampleTerm):
    """scale / 2 |x - goal|² of each sample: over B samples the gradient at each is scale (x - goal) / B."""

    def __init__(self, name="image", goal=0.0, scale=1.0):
        super().__init__()
        self.name = name
        self.goal = torch.as_tensor(goal, dtype=torch.float64)
        self.scale = scale

    def per_sample(self, student, teacher, batch):
        there = present(student, self.name)
        x = student[self.name][there]
        return scatter_present(self.scale / 2 * (x - self.goal).square().sum(1), there), there

    @classmethod
    def reads(cls, arguments):
        return frozenset(), frozenset()


class Nothing(Pull):
    """A term that finds nothing in the batch."""

    def per_sample(self, student, teacher, batch):
        values, there = super().per_sample(student, teacher, batch)
        return values, torch.zeros_like(there)


def terms():
    return {"near": Pull("image", 0.1), "far": Pull("image", [-3.0, 2.0, 1.0], 0.1), "other": Pull("text", 1.0, 5.0)}


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.towers = nn.ModuleDict({name: nn.Linear(4, 3) for name in ("image", "text")})
        for seed, tower in enumerate(self.towers.values()):
            tower.weight.data, tower.bias.data = unit(3, 4, seed), torch.zeros(3, dtype=torch.float64)

    def forward(self, x):
        return {name: tower(x) for name, tower in self.towers.items()}
