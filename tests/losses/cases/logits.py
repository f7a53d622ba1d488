"""Class scores and labels."""

import math

import torch

from kdmm.losses import (
    DIST,
    DKD,
    KD,
    NKD,
    ClassBalanced,
    CrossEntropy,
    LogitAdjusted,
    LogitMSE,
    MultiLevelLogits,
    OwnLoss,
    RDrop,
    TeacherFree,
)
from tests.losses.conformance import Case
from tests.oracles import logits as oracle

B, C = 7, 5


def scores(seed, scale=2.0):
    return scale * torch.randn(B, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = {"logits": scores(1)}, {"logits": scores(2)}
LABELS = {"label": torch.tensor([0, 3, -1, 4, 1, -1, 3])}
ORDER = torch.tensor([3, 0, 5, 1, 6, 4, 2])
CLASSES = torch.tensor([2, 0, 4, 1, 3])
COUNTS = [50, 3, 10, 400, 7]


def reordered(student, teacher, batch):
    return tuple({k: x[ORDER] for k, x in each.items()} for each in (student, teacher, batch))


def shifted(student, teacher, batch):
    """A softmax does not see what is added to all scores of a sample."""
    return {"logits": student["logits"] + scores(3)[:, :1]}, teacher, batch


def stretched(student, teacher, batch):
    return {"logits": 3 * student["logits"] + 1}, {"logits": teacher["logits"] / 7 - 2}, batch


def renamed(student, teacher, batch):
    """The classes in another order."""
    label = batch.get("label")
    moved = {} if label is None else {"label": torch.where(label < 0, label, CLASSES.argsort()[label])}
    return *({k: x[:, CLASSES] for k, x in each.items()} for each in (student, teacher)), moved


def same(student, teacher, batch):
    return {"logits": teacher["logits"] + 1}, teacher, batch


def equal(student, teacher, batch):
    return dict(teacher), teacher, batch


def sure(student, teacher, batch):
    """Far above the others at the label."""
    at = torch.nn.functional.one_hot(batch["label"].clamp(min=0), C)
    return {"logits": 100.0 * at.double()}, teacher, batch


def smooth(smoothing):
    def agrees(student, teacher, batch):
        at = torch.nn.functional.one_hot(batch["label"].clamp(min=0), C)
        return {"logits": ((1 - smoothing) * at + smoothing / C).double().log()}, teacher, batch

    return agrees


def sure_and_same(student, teacher, batch):
    """At the label certain, among the others as the teacher."""
    at = torch.nn.functional.one_hot(batch["label"].clamp(min=0), C)
    return {"logits": teacher["logits"] + 100.0 * at}, teacher, batch


def virtual(correct):
    def agrees(student, teacher, batch):
        at = torch.nn.functional.one_hot(batch["label"].clamp(min=0), C)
        return {"logits": torch.where(at == 1, correct, (1 - correct) / (C - 1)).double().log()}, teacher, batch

    return agrees


SOFTMAX = {"order of samples": reordered, "order of classes": renamed, "shift": shifted}
SMOOTHED = -(0.82 * math.log(0.82) + 4 * 0.045 * math.log(0.045))  # entropy of the target at smoothing 0.225


def kd_case(name, **arguments):
    kind, temperature = arguments.get("divergence", "forward"), arguments.get("temperature", 4.0)
    standardize = arguments.get("standardize", False)
    return Case(
        name,
        KD,
        arguments,
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.kd(s["logits"], t["logits"], temperature, kind, standardize),
        agrees=same,
        invariances={**SOFTMAX, **({"scale": stretched} if standardize else {})},
        absent=("logits",),
    )


def reordered_mixed(student, teacher, batch):
    share = batch["mixed/share"]
    moved = reordered(student, teacher, {k: x for k, x in batch.items() if k != "mixed/share"})
    return *moved[:2], {**moved[2], "mixed/share": share}


def mixed_oracle(term, student, teacher, batch):
    values = []
    for row, own, partner in zip(student["logits"].tolist(), batch["label"], batch["mixed/label"], strict=True):
        if own >= 0 and partner >= 0:
            log_sum = math.log(sum(math.exp(score) for score in row))
            values.append(log_sum - 0.7 * row[int(own)] - 0.3 * row[int(partner)])
    return sum(values) / len(values)


def symmetric_oracle(first, second):
    def softmax(row):
        total = sum(math.exp(score) for score in row)
        return [math.exp(score) / total for score in row]

    values = []
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        p, q = softmax(a), softmax(b)
        forth = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
        back = sum(y * math.log(y / x) for x, y in zip(p, q, strict=True))
        values.append((forth + back) / 2)
    return sum(values) / len(values)


CASES = [
    Case(
        "CrossEntropy",
        CrossEntropy,
        {},
        STUDENT,
        {},
        lambda term, s, t, b: oracle.cross_entropy(s["logits"], b["label"], 0.0),
        LABELS,
        agrees=sure,
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "CrossEntropy, smoothing=0.225",
        CrossEntropy,
        {"smoothing": 0.225},
        STUDENT,
        {},
        lambda term, s, t, b: oracle.cross_entropy(s["logits"], b["label"], 0.225),
        LABELS,
        agrees=smooth(0.225),
        least=SMOOTHED,
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "OwnLoss",
        OwnLoss,
        {},
        {name: torch.tensor(x, dtype=torch.float64) for name, x in (("loss/class", 1.5), ("loss/box", 0.25))},
        {},
        lambda term, s, t, b: 1.75,
        exempt={
            "agreement": "the student's own; there is no teacher in it",
            "invariance": "a sum of what the student gives",
            "masks": "scalars: the student has left out what is absent",
            "20 steps": "the student lowers what it gives, not the term",
        },
    ),
    kd_case("KD"),
    kd_case("KD, divergence=reverse", divergence="reverse", temperature=2),
    kd_case("KD, divergence=jensen_shannon", divergence="jensen_shannon", temperature=1.0),
    kd_case("KD, standardize=true", standardize=True, temperature=2.0),
    Case(
        "DKD",
        DKD,
        {},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.dkd(s["logits"], t["logits"], b["label"], 1.0, 8.0, 4.0),
        LABELS,
        agrees=same,
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "DKD, weights and temperature set",
        DKD,
        {"alpha": 2.0, "beta": 0.5, "temperature": 1},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.dkd(s["logits"], t["logits"], b["label"], 2.0, 0.5, 1.0),
        LABELS,
        agrees=same,
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "NKD",
        NKD,
        {"temperature": 2.0},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.nkd(s["logits"], t["logits"], b["label"], 1.5, 2.0),
        LABELS,
        agrees=sure_and_same,
        least=lambda term, s, t, b: oracle.nkd_least(t["logits"], b["label"], 1.5, 2.0),
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "DIST",
        DIST,
        {},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.dist(s["logits"], t["logits"], 1.0, 1.0, 1.0),
        agrees=same,
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "DIST, weights and temperature set",
        DIST,
        {"beta": 2.0, "gamma": 0.5, "temperature": 4},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.dist(s["logits"], t["logits"], 2.0, 0.5, 4.0),
        agrees=same,
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "MultiLevelLogits",
        MultiLevelLogits,
        {},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.multi_level(s["logits"], t["logits"], [2, 3, 4, 5, 6], (1, 1, 1)),
        agrees=same,
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "MultiLevelLogits, relations alone",
        MultiLevelLogits,
        {"temperatures": [1, 2.5], "instance": 0, "batch": 3.0, "classes": 0.5},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.multi_level(s["logits"], t["logits"], [1, 2.5], (0, 3, 0.5)),
        agrees=same,
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "LogitMSE",
        LogitMSE,
        {},
        STUDENT,
        TEACHER,
        lambda term, s, t, b: oracle.logit_mse(s["logits"], t["logits"]),
        agrees=equal,
        invariances={"order of samples": reordered, "order of classes": renamed},
        absent=("logits",),
    ),
    Case(
        "TeacherFree",
        TeacherFree,
        {},
        STUDENT,
        {},
        lambda term, s, t, b: oracle.teacher_free(s["logits"], b["label"], 0.9, 20.0),
        LABELS,
        agrees=virtual(0.9),
        invariances=SOFTMAX,
        absent=("logits",),
    ),
    Case(
        "CrossEntropy, mixed labels",
        CrossEntropy,
        {},
        STUDENT,
        {},
        mixed_oracle,
        {**LABELS, "mixed/label": torch.tensor([3, 3, 0, -1, 2, 1, 0]), "mixed/share": 0.7},
        invariances={"order of samples": reordered_mixed},
        absent=("logits",),
        exempt={"agreement": "no scores are sure of two labels: its least value depends on the labels and the share"},
    ),
    Case(
        "RDrop",
        RDrop,
        {},
        {"logits": scores(1), "logits_again": scores(4)},
        {},
        lambda term, s, t, b: symmetric_oracle(s["logits"], s["logits_again"]),
        agrees=lambda s, t, b: ({"logits": s["logits"], "logits_again": s["logits"] - 3}, t, b),
        invariances={
            "order of samples": reordered,
            "exchange of the answers": lambda s, t, b: (
                {"logits": s["logits_again"], "logits_again": s["logits"]},
                t,
                b,
            ),
        },
        absent=("logits", "logits_again"),
    ),
]
CASES += [
    Case(
        name,
        kind,
        {"counts": COUNTS, **arguments},
        STUDENT,
        {},
        value,
        LABELS,
        agrees=sure,
        invariances={"order of samples": reordered, "shift": shifted},
        absent=("logits",),
    )
    for name, kind, arguments, value in (
        (
            "ClassBalanced",
            ClassBalanced,
            {},
            lambda term, s, t, b: oracle.class_balanced(s["logits"], b["label"], COUNTS, 0.999),
        ),
        (
            "ClassBalanced, beta=0.9",
            ClassBalanced,
            {"beta": 0.9},
            lambda term, s, t, b: oracle.class_balanced(s["logits"], b["label"], COUNTS, 0.9),
        ),
        (
            "LogitAdjusted",
            LogitAdjusted,
            {},
            lambda term, s, t, b: oracle.logit_adjusted(s["logits"], b["label"], COUNTS, 1.0),
        ),
        (
            "LogitAdjusted, tau=0.5",
            LogitAdjusted,
            {"tau": 0.5},
            lambda term, s, t, b: oracle.logit_adjusted(s["logits"], b["label"], COUNTS, 0.5),
        ),
    )
]
