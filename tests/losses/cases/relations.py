"""How samples stand to each other."""

import torch

from kdmm.losses import CKA, CRD, PKT, RKD, CorrelationCongruence, SimilarityPreserving
from tests.losses.conformance import Case
from tests.losses.data import rotation, unit
from tests.oracles import relations as oracle

B, D, E = 7, 5, 6
NAMES = {"student": "audio", "teacher": "image"}
STUDENT, TEACHER = {"audio": 2 * unit(B, D, 1)}, {"image": 3 * unit(B, E, 2)}
MAPS = {"audio": 2 * unit(B, 12, 1).reshape(B, 3, 2, 2)}, {"image": 3 * unit(B, 8, 2).reshape(B, 4, 2)}
ORDER = torch.tensor([3, 0, 6, 5, 1, 4, 2])
SMALL = {"width": 4, "bank": 5, "temperature": 0.5}


def reordered(student, teacher, batch):
    return tuple({name: x[ORDER] for name, x in each.items()} for each in (student, teacher, batch))


def turned(student, teacher, batch):
    return {"audio": student["audio"] @ rotation(D, 3)}, {"image": teacher["image"] @ rotation(E, 4)}, batch


def scaled(student, teacher, batch):
    return {"audio": 7 * student["audio"]}, {"image": teacher["image"] / 9}, batch


def lengthened(student, teacher, batch):
    lengths = torch.linspace(0.5, 3.0, B, dtype=torch.float64)[:, None]
    return {"audio": student["audio"] * lengths}, {"image": teacher["image"] / lengths}, batch


def shifted(student, teacher, batch):
    return {"audio": student["audio"] + unit(1, D, 5)}, {"image": teacher["image"] - unit(1, E, 6)}, batch


def alike(student, teacher, batch):
    """A student that is the teacher, turned and at another scale."""
    return {"audio": 0.3 * teacher["image"] @ rotation(E, 7)}, teacher, batch


def of(function, *arguments):
    def value(term, student, teacher, batch):
        return function(oracle.rows(student["audio"]), oracle.rows(teacher["image"]), *arguments)

    return value


def rkd_oracle(distance, angle):
    def value(term, student, teacher, batch):
        both = oracle.rows(student["audio"]), oracle.rows(teacher["image"])
        return distance * oracle.rkd_distance(*both) + angle * oracle.rkd_angle(*both)

    return value


def crd_oracle(term, student, teacher, batch):
    ours = torch.nn.functional.normalize(term.student_map(student["audio"].flatten(1)), dim=1)
    theirs = torch.nn.functional.normalize(term.teacher_map(teacher["image"].flatten(1)), dim=1)
    labels = batch.get("label", torch.full((B,), -1)).tolist()
    same = [[i == j or labels[i] == labels[j] != -1 for j in range(B)] for i in range(B)]
    return oracle.noise_contrast(ours.tolist(), theirs.tolist(), ([], []), term.temperature, same)


def case(name, kind, arguments, value, **rest):
    """A relation between vectors, which agrees up to rotation and scale and may lack either side."""
    settings = {
        "agrees": alike,
        "invariances": {"order of samples": reordered, "rotation": turned, "scale": scaled},
        "absent": ("audio", "image"),
        **rest,
    }
    return Case(name, kind, {**NAMES, **arguments}, STUDENT, TEACHER, value, **settings)


def with_lengths(*more):
    return {"order of samples": reordered, "rotation": turned, "lengths": lengthened, **dict(more)}


def with_shift():
    return {"order of samples": reordered, "rotation": turned, "scale": scaled, "shift": shifted}


def on_maps(name, kind, arguments, value, **rest):
    """The same on maps of the student and tokens of the teacher, which are flattened."""
    return Case(
        f"{name}, maps",
        kind,
        {**NAMES, **arguments},
        *MAPS,
        value,
        invariances={"order of samples": reordered, "scale": scaled},
        absent=("audio", "image"),
        exempt={"agreement": "shown on vectors; the widths of these maps differ"},
        **rest,
    )


CASES = [
    case("RKD", RKD, {}, rkd_oracle(1, 2), invariances=with_shift()),
    case("RKD, angle=0", RKD, {"angle": 0}, rkd_oracle(1, 0), invariances=with_shift()),
    case("RKD, distance=0", RKD, {"distance": 0, "angle": 5}, rkd_oracle(0, 5), invariances=with_shift()),
    case("PKT", PKT, {}, of(oracle.pkt), invariances=with_lengths()),
    case("SimilarityPreserving", SimilarityPreserving, {}, of(oracle.similarity_preserving)),
    case(
        "CorrelationCongruence",
        CorrelationCongruence,
        {},
        of(oracle.correlation_congruence, "gaussian"),
        invariances=with_lengths(),
    ),
    case(
        "CorrelationCongruence, order=4",
        CorrelationCongruence,
        {"gamma": 0.9, "order": 4},
        of(oracle.correlation_congruence, "gaussian", 0.9, 4),
        invariances=with_lengths(),
    ),
    case(
        "CorrelationCongruence, kernel=bilinear",
        CorrelationCongruence,
        {"kernel": "bilinear"},
        of(oracle.correlation_congruence, "bilinear"),
        invariances=with_lengths(),
    ),
    case("CKA", CKA, {}, of(oracle.cka), invariances=with_shift()),
    on_maps("RKD", RKD, {}, rkd_oracle(1, 2)),
    on_maps("PKT", PKT, {}, of(oracle.pkt)),
    on_maps("SimilarityPreserving", SimilarityPreserving, {}, of(oracle.similarity_preserving)),
    on_maps("CorrelationCongruence", CorrelationCongruence, {}, of(oracle.correlation_congruence, "gaussian")),
    on_maps("CKA", CKA, {}, of(oracle.cka)),
]
CASES += [
    Case(
        name,
        CRD,
        {**NAMES, **SMALL, **arguments},
        student,
        teacher,
        crd_oracle,
        {"id": torch.arange(B), **labels},
        invariances={"order of samples": reordered},
        absent=("audio", "image"),
        exempt={"agreement": "its least value depends on the teacher: partners must be near and all others far"},
    )
    for name, student, teacher, arguments, labels in (
        ("CRD", STUDENT, TEACHER, {}, {}),
        ("CRD, label", STUDENT, TEACHER, {"label": "label"}, {"label": torch.tensor([0, 1, -1, 0, 2, 1, -1])}),
        ("CRD, maps", *MAPS, {}, {}),
    )
]
