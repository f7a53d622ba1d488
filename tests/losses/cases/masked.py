"""Activations generated from a part of the student's places."""

import torch
import torch.nn.functional as F

from kdmm.losses import MaskedFeature
from tests.losses.cases.stages import TOKENS, WIDER, adapted, shuffled
from tests.losses.conformance import Case
from tests.oracles import features as oracle


class Seeded(MaskedFeature):
    """Draws the same places each time."""

    def per_sample(self, student, teacher, batch):
        torch.manual_seed(3)
        return super().per_sample(student, teacher, batch)


def masked_oracle(name):
    def value(term, student, teacher, batch):
        torch.manual_seed(3)
        keep = torch.rand((6, 5) if name == "tokens" else (6, 4, 3)) >= term.ratio
        generated = []
        for sample, kept in zip(adapted(term.adapter, student[name]), keep.tolist(), strict=True):
            if name == "tokens":  # as a map of one row, whose kernel has one row
                sample, kept = [[list(channel)] for channel in zip(*sample, strict=True)], [kept]
            sample = [
                [[x * k for x, k in zip(*pair, strict=True)] for pair in zip(channel, kept, strict=True)]
                for channel in sample
            ]
            hidden = oracle.relu(oracle.convolve(sample, *kernel(term.generator.first)))
            generated.append(oracle.convolve(hidden, *kernel(term.generator.second)))
        if name == "tokens":
            generated = [[list(v) for v in zip(*(channel[0] for channel in g), strict=True)] for g in generated]
        return oracle.hint(generated, teacher[name].tolist())

    return value


def kernel(layer):
    """A convolution's weight and bias; along tokens, as the middle row of a square kernel."""
    weight = layer.weight if layer.weight.ndim == 4 else F.pad(layer.weight[:, :, None], (0, 0, 1, 1))
    return weight.tolist(), layer.bias.tolist()


DRAWN = {
    "invariance": "the places are drawn by the order of samples",
    "masks": "an absent sample changes which places are drawn for the others",
    "two processes": "each rank draws the places of its own samples",
}

CASES = [
    *(
        Case(
            f"MaskedFeature, ratio=0, {name}",
            MaskedFeature,
            {"student": name, "teacher": name, "ratio": 0.0},
            *outputs,
            masked_oracle(name),
            invariances={"order of samples": shuffled},
            absent=(name,),
            exempt={"agreement": "the student must be what the generator makes the teacher's of"},
        )
        for name, outputs in {"map": WIDER, "tokens": TOKENS}.items()
    ),
    Case(
        "MaskedFeature, ratio=0.5",
        Seeded,
        {"student": "map", "teacher": "map"},
        *WIDER,
        masked_oracle("map"),
        exempt={**DRAWN, "agreement": "the student must be what the generator makes the teacher's of"},
    ),
]
