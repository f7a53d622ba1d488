"""Activations and embeddings that follow the teacher's."""

import torch

from kdmm.losses import PHIS, AttentionTransfer, FeatureMatch, Hint
from tests.losses.cases import masked, stages
from tests.losses.cases.pairs import reordered
from tests.losses.cases.stages import (
    BOTH,
    LEARNED,
    MAPS,
    STAGES,
    TOKENS,
    adapted,
    moved,
    of_layer,
    randoms,
    same,
    shuffled,
)
from tests.losses.conformance import Case
from tests.losses.data import unit
from tests.oracles import features as oracle
from tests.oracles import losses

B, D, E = 8, 5, 6

# one vector a sample

IMAGES = {"image": 2 * unit(B, D, 1)}, {"image": 3 * unit(B, D, 2)}


def longer(student, teacher, batch):
    return {"image": 7 * student["image"]}, {"image": teacher["image"] / 9}, batch


def shorter(student, teacher, batch):
    return {"image": 0.5 * teacher["image"]}, teacher, batch


def distance_oracle(distance):
    def value(term, student, teacher, batch):
        ours = torch.tensor(adapted(term.adapter, student["image"]), dtype=torch.float64)
        return losses.feature_distance(ours, teacher["image"], torch.ones(B, dtype=torch.bool), distance)

    return value


# statistics of the teacher's vectors


def standardized(teacher):
    """By PHI-S with Sylvester's matrix of 4."""
    mean, covariance = oracle.covariance(teacher["image"].tolist())
    variances, axes = torch.linalg.eigh(torch.tensor(covariance, dtype=torch.float64))
    for axis in axes.T:
        axis *= 1 if axis[axis.abs().argmax()] > 0 else -1
    rows = [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    turn = torch.tensor(rows, dtype=torch.float64) / 2 @ axes.T
    return (teacher["image"] - torch.tensor(mean, dtype=torch.float64)) @ turn.T / variances.mean().sqrt()


def phis_oracle(term, student, teacher, batch):
    return oracle.hint(student["image"].tolist(), standardized(teacher).tolist())


def as_standardized(student, teacher, batch):
    return {"image": standardized(teacher)}, teacher, batch


# tokens

VALID = {"valid/tokens": torch.tensor([[True] * n + [False] * (5 - n) for n in (5, 1, 3, 2, 5, 4)])}
PADDED = (
    {"tokens": torch.where(VALID["valid/tokens"][..., None], randoms(3, 6, 5, 4), 9.0), **VALID},
    {"tokens": randoms(4, 6, 5, 4), **VALID},
)


def padding_changed(student, teacher, batch):
    junk = torch.where(VALID["valid/tokens"][..., None], 0.0, torch.nan)
    return *({k: x + junk if k == "tokens" else x for k, x in each.items()} for each in (student, teacher)), batch


def padded_oracle(term, student, teacher, batch):
    places = student["valid/tokens"].tolist()
    return oracle.hint(student["tokens"].tolist(), teacher["tokens"].tolist(), places)


# where activations are large


def brighter(student, teacher, batch):
    return {k: 2 * x for k, x in student.items()}, {k: x.flip(1) / 3 for k, x in teacher.items()}, batch


def attention_oracle(term, student, teacher, batch):
    return sum(oracle.attention_transfer(student[name].tolist(), teacher[name].tolist()) for name, _ in term.layers)


CASES = [
    *(
        Case(
            f"FeatureMatch, distance={distance}",
            FeatureMatch,
            {"student": "image", "teacher": "image", "distance": distance},
            *IMAGES,
            distance_oracle(distance),
            agrees=shorter,
            invariances={"order of samples": reordered, "length": longer},
            absent=("image",),
        )
        for distance in ("mse", "cosine")
    ),
    Case(
        "FeatureMatch, widths differ",
        FeatureMatch,
        {"student": "image", "teacher": "image"},
        IMAGES[0],
        {"image": unit(B, E, 2)},
        distance_oracle("mse"),
        invariances={"order of samples": reordered},
        absent=("image",),
        exempt={"agreement": LEARNED},
    ),
    Case(
        "Hint",
        Hint,
        {"student": "map", "teacher": "map"},
        *MAPS,
        of_layer("map", oracle.hint),
        agrees=same,
        invariances={"order of samples": shuffled, "offset of both": moved},
        absent=("map",),
    ),
    Case(
        "Hint, tokens of other widths",
        Hint,
        {"student": "tokens", "teacher": "tokens"},
        *TOKENS,
        of_layer("tokens", oracle.hint),
        invariances={"order of samples": shuffled},
        absent=("tokens",),
        exempt={"agreement": LEARNED},
    ),
    Case(
        "Hint, tokens with padding",
        Hint,
        {"student": "tokens", "teacher": "tokens"},
        *PADDED,
        padded_oracle,
        agrees=same,
        invariances={"order of samples": shuffled, "padding": padding_changed},
        absent=("tokens",),
    ),
    Case(
        "Hint, standardize=PHIS",
        Hint,
        {"student": "image", "teacher": "image", "standardize": PHIS(vectors=4)},
        {"image": randoms(1, 6, 4)},
        {"image": 5 * randoms(2, 6, 4) + 2},
        phis_oracle,
        agrees=as_standardized,
        invariances={"order of samples": shuffled},
        absent=("image",),
    ),
    Case(
        "AttentionTransfer",
        AttentionTransfer,
        {"layers": BOTH},
        *STAGES,
        attention_oracle,
        agrees=same,
        invariances={"order of samples": shuffled, "scale, order of channels": brighter},
        absent=("map", "deep"),
    ),
    Case(
        "AttentionTransfer, tokens",
        AttentionTransfer,
        {"layers": {"tokens": "tokens"}},
        *TOKENS,
        attention_oracle,
        agrees=same,
        invariances={"order of samples": shuffled},
        absent=("tokens",),
    ),
    *stages.CASES,
    *masked.CASES,
]
