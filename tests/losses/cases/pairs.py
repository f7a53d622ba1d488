"""Contrast between the modalities of a pair."""

import math

import torch

from kdmm.losses import Affinity, Contrastive, InteractiveContrastive
from tests.losses.conformance import Case
from tests.losses.data import rotation, scalar, unit
from tests.oracles import losses as oracle

B, D, E = 8, 5, 6
PAIR = ["image", "text"]
STUDENT = {"image": unit(B, D, 1), "text": unit(B, D, 2), "logit_scale": scalar(9.0), "logit_bias": scalar(-3.0)}
TEACHER = {"image": unit(B, E, 3), "text": unit(B, E, 4), "logit_scale": scalar(14.0)}
NARROW = {"image": unit(B, D, 3), "text": unit(B, D, 4), "logit_scale": scalar(14.0)}
BATCH = {"caption_id": torch.tensor([0, 1, 2, 0, 3, 4, 5, 5])}
ALL = torch.ones(B, dtype=torch.bool)
ORDER = torch.tensor([3, 0, 7, 5, 1, 6, 4, 2])


def reordered(student, teacher, batch):
    return tuple({k: x[ORDER] if x.ndim else x for k, x in each.items()} for each in (student, teacher, batch))


def turned(student, teacher, batch):
    turn = rotation(D, 9)
    return {k: x @ turn if x.ndim else x for k, x in student.items()}, teacher, batch


def exchanged(student, teacher, batch):
    swap = {"image": "text", "text": "image"}
    return *({swap.get(k, k): x for k, x in each.items()} for each in (student, teacher)), batch


def biased(student, teacher, batch):
    return {**student, "logit_bias": scalar(2.0)}, teacher, batch


SYMMETRIES = {"order of samples": reordered, "rotation": turned, "exchange of modalities": exchanged}


def partners(student, teacher, batch):
    """Pairs of one vector, far from all others: at a large scale nothing is to be learned."""
    same = torch.eye(B, dtype=torch.float64)[batch["caption_id"]] if batch else torch.eye(B, dtype=torch.float64)
    return {**student, "image": same, "text": same, "logit_scale": scalar(100.0)}, teacher, batch


def same_as_teacher(student, teacher, batch):
    return {**student, **teacher}, teacher, batch


def of_duplicates(term, student, teacher, batch):
    """The mean of log |P(i)|: the least value of a target that is uniform over P(i)."""
    labels = batch["caption_id"].tolist()
    return sum(math.log(labels.count(label)) for label in labels) / len(labels)


def affinity_oracle(student_scale=None, teacher_scale=None):
    def value(term, student, teacher, batch):
        return oracle.affinity_divergence(
            (student["image"], student["text"]),
            (teacher["image"], teacher["text"]),
            float(student["logit_scale"]) if student_scale is None else student_scale,
            float(teacher["logit_scale"]) if teacher_scale is None else teacher_scale,
            (ALL, ALL),
        )

    return value


def contrast_oracle(term, student, teacher, batch):
    labels = batch.get("caption_id", torch.arange(B))
    return oracle.softmax_contrast(student["image"], student["text"], float(student["logit_scale"]), labels, ALL)


def sigmoid_oracle(term, student, teacher, batch):
    scale, bias = float(student["logit_scale"]), float(student["logit_bias"])
    return oracle.sigmoid_contrast(student["image"], student["text"], scale, bias, batch["caption_id"], ALL)


def interactive_oracle(term, student, teacher, batch):
    scale, labels = float(student["logit_scale"]), batch["caption_id"]
    forth = oracle.anchored_contrast(student["image"], teacher["text"], scale, labels, ALL)
    return (forth + oracle.anchored_contrast(student["text"], teacher["image"], scale, labels, ALL)) / 2


def sigmoid_partners(student, teacher, batch):
    student, teacher, batch = partners(student, teacher, batch)
    return {**student, "logit_bias": scalar(-50.0)}, teacher, batch


CASES = [
    Case(
        "Contrastive",
        Contrastive,
        {"pair": PAIR},
        STUDENT,
        {},
        contrast_oracle,
        BATCH,
        agrees=partners,
        least=of_duplicates,
        invariances={**SYMMETRIES, "bias": biased},
        absent=("image", "text"),
        learns=0.9,
    ),
    Case(
        "Contrastive, form=sigmoid",
        Contrastive,
        {"pair": PAIR, "form": "sigmoid"},
        STUDENT,
        {},
        sigmoid_oracle,
        BATCH,
        agrees=sigmoid_partners,
        invariances=SYMMETRIES,
        absent=("image", "text"),
    ),
    Case(
        "Contrastive, duplicates=negative",
        Contrastive,
        {"pair": PAIR, "duplicates": "negative"},
        STUDENT,
        {},
        contrast_oracle,
        agrees=partners,
        invariances={**SYMMETRIES, "bias": biased},
        absent=("image", "text"),
    ),
    Case(
        "Affinity",
        Affinity,
        {"pair": PAIR},
        STUDENT,
        TEACHER,
        affinity_oracle(),
        agrees=same_as_teacher,
        invariances={**SYMMETRIES, "bias": biased},
        absent=("image", "text"),
    ),
    Case(
        "Affinity, temperatures set",
        Affinity,
        {"pair": PAIR, "teacher_temperature": 0.1, "student_temperature": 0.2},
        STUDENT,
        TEACHER,
        affinity_oracle(5.0, 10.0),
        invariances={**SYMMETRIES, "bias": biased},
        absent=("image", "text"),
        exempt={"agreement": "the temperatures differ, so equal embeddings have different affinities"},
    ),
    Case(
        "Affinity, over=pairs",
        Affinity,
        {"pair": PAIR, "over": "pairs"},
        STUDENT,
        TEACHER,
        affinity_oracle(),
        agrees=same_as_teacher,
        invariances={**SYMMETRIES, "bias": biased},
        absent=("image", "text"),
    ),
    Case(
        "InteractiveContrastive",
        InteractiveContrastive,
        {"pair": PAIR},
        STUDENT,
        NARROW,
        interactive_oracle,
        BATCH,
        invariances={"order of samples": reordered, "exchange of modalities": exchanged},
        absent=("image", "text"),
        learns=0.95,
        exempt={"agreement": "its least value depends on the teacher: partners must be near and all others far"},
    ),
]
