"""Activations and embeddings that follow the teacher's."""

import torch

from kdmm.losses import FeatureMatch
from tests.losses.cases.pairs import reordered
from tests.losses.conformance import Case
from tests.losses.data import unit
from tests.oracles import losses as oracle

B, D, E = 8, 5, 6
STUDENT, TEACHER = {"image": 2 * unit(B, D, 1)}, {"image": 3 * unit(B, D, 2)}
ALL = torch.ones(B, dtype=torch.bool)


def longer(student, teacher, batch):
    return {"image": 7 * student["image"]}, {"image": teacher["image"] / 9}, batch


def same(student, teacher, batch):
    return {"image": 0.5 * teacher["image"]}, teacher, batch


def distance_oracle(distance):
    def value(term, student, teacher, batch):
        ours = student["image"]
        if ours.shape[1] != teacher["image"].shape[1]:
            ours = ours @ term.adapter.chosen.map.weight.T + term.adapter.chosen.map.bias
        return oracle.feature_distance(ours, teacher["image"], ALL, distance)

    return value


CASES = [
    Case(
        f"FeatureMatch, distance={distance}",
        FeatureMatch,
        {"student": "image", "teacher": "image", "distance": distance},
        STUDENT,
        TEACHER,
        distance_oracle(distance),
        agrees=same,
        invariances={"order of samples": reordered, "length": longer},
        absent=("image",),
    )
    for distance in ("mse", "cosine")
]
CASES.append(
    Case(
        "FeatureMatch, widths differ",
        FeatureMatch,
        {"student": "image", "teacher": "image"},
        STUDENT,
        {"image": unit(B, E, 2)},
        distance_oracle("mse"),
        invariances={"order of samples": reordered},
        absent=("image",),
        exempt={"agreement": "the map between the widths is learned"},
    )
)
