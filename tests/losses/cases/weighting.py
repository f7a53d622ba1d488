"""Terms whose samples are weighted."""

import torch

from kdmm.losses import KD, Confident, FeatureMatch
from tests.losses.cases.pairs import reordered
from tests.losses.conformance import Case
from tests.losses.data import unit
from tests.oracles import weighting as oracle

B, D, C = 8, 5, 4
STUDENT = {"image": 2 * unit(B, D, 1)}
TEACHER = {"image": 3 * unit(B, D, 2), "logits": 4 * unit(B, C, 3)}
LABELS = {"label": torch.tensor([0, 3, -1, 1, 2, 0, 1, -1])}


def same(student, teacher, batch):
    return {name: teacher[name] for name in student}, teacher, batch


def shifted(student, teacher, batch):
    return student, {**teacher, "logits": teacher["logits"] + torch.arange(B, dtype=torch.float64)[:, None]}, batch


def weighted(temperature=1.0):
    def value(term, student, teacher, batch):
        values, _ = term.term.per_sample(student, teacher, batch)
        return oracle.confident_mean(values, teacher["logits"], temperature, batch.get("label"))

    return value


SETTINGS = {"invariances": {"order of samples": reordered, "scores plus a number": shifted}, "agrees": same}

CASES = [
    Case(
        "Confident, by=entropy",
        Confident,
        {"term": FeatureMatch("image", "image")},
        STUDENT,
        TEACHER,
        weighted(),
        absent=("image", "logits"),
        **SETTINGS,
    ),
    Case(
        "Confident, by=label, temperature=2",
        Confident,
        {"term": FeatureMatch("image", "image"), "by": "label", "temperature": 2.0},
        STUDENT,
        TEACHER,
        weighted(2.0),
        LABELS,
        absent=("image", "logits"),
        **SETTINGS,
    ),
    Case(
        "Confident, of KD",
        Confident,
        {"term": KD(), "by": "label"},
        {"logits": unit(B, C, 4)},
        {"logits": TEACHER["logits"]},
        weighted(),
        LABELS,
        absent=("logits",),
        **SETTINGS,
    ),
]
