"""Contrast between the modalities of a pair."""

import math
from dataclasses import replace

import torch

from kdmm.losses import (
    Affinity,
    AugmentedFeature,
    Contrastive,
    GapLoss,
    GradientDistillation,
    InteractiveContrastive,
    SigmoidDistillation,
)
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


def concentric(student, teacher, batch):
    """Different embeddings with one centroid."""
    moved = student["image"] - student["image"].mean(0) + student["text"].mean(0)
    return {**student, "image": moved}, teacher, batch


def moved_together(student, teacher, batch):
    offset = unit(1, D, 7)
    return {**student, "image": student["image"] + offset, "text": student["text"] + offset}, teacher, batch


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


def gradient_oracle(term, student, teacher, batch):
    ours = [student["image"], student["text"]]
    for at, adapter in enumerate((term.first_adapter, term.second_adapter)):
        if adapter.map is not None:
            ours[at] = torch.nn.functional.normalize(ours[at] @ adapter.map.weight.T + adapter.map.bias, dim=1)
    theirs = teacher["image"], teacher["text"]
    scales = float(student["logit_scale"]), float(teacher["logit_scale"])
    return oracle.gradient_distance(tuple(ours), theirs, *scales, batch.get("caption_id", torch.arange(B)))


def fused_oracle(scale=None):
    def value(term, student, teacher, batch):
        fused = []
        for name, layer in (("image", term.first_fusion), ("text", term.second_fusion)):
            both = torch.cat([student[name], teacher[name]], 1)
            fused.append(torch.nn.functional.normalize(both @ layer.weight.T + layer.bias, dim=1))
        factor = float(term.log_scale.exp()) if scale is None else scale
        return oracle.softmax_contrast(*fused, factor, batch["caption_id"], ALL)

    return value


def sigmoid_divergence_oracle(student_bias, teacher_bias, positives=B):
    def value(term, student, teacher, batch):
        ours, theirs = (
            oracle.logits(each["image"], each["text"], float(each["logit_scale"])) for each in (student, teacher)
        )
        if teacher_bias == "own":
            theirs = [[z + float(teacher["logit_bias"]) for z in row] for row in theirs]
        else:
            theirs = oracle.fitted(theirs, positives)
        if student_bias == "own":
            ours = [[z + float(student["logit_bias"]) for z in row] for row in ours]
        else:
            ours = oracle.fitted(ours, sum(1 / (1 + math.exp(-z)) for row in theirs for z in row))
        return oracle.sigmoid_divergence(ours, theirs)

    return value


def fitted_as_teacher(student, teacher, batch):
    """The teacher's embeddings, and the bias that is fitted to it."""
    z = oracle.logits(teacher["image"], teacher["text"], float(teacher["logit_scale"]))
    bias = oracle.fitted(z, float(sum((batch["caption_id"] == label).sum() for label in batch["caption_id"])))
    return {**student, **teacher, "logit_bias": scalar(bias[0][0] - z[0][0])}, teacher, batch


def renamed(student, teacher, batch):
    """Other modalities by the names audio and image."""
    names = {"image": "audio", "text": "image"}
    return tuple({names.get(name, name): x for name, x in each.items()} for each in (student, teacher, batch))


def named_back(value):
    names = {"audio": "image", "image": "text"}
    return lambda term, *given: value(term, *({names.get(name, name): x for name, x in each.items()} for each in given))


def audio_exchanged(student, teacher, batch):
    swap = {"audio": "image", "image": "audio"}
    return *({swap.get(k, k): x for k, x in each.items()} for each in (student, teacher)), batch


SIGMOID_TEACHER = {**TEACHER, "logit_bias": scalar(-5.0)}
AUDIO_STUDENT, AUDIO_TEACHER, _ = renamed(STUDENT, TEACHER, {})
# of the caption ids above: 2 x 2 samples share one, 4 are alone
POSITIVES = 4 + 2 * 2**2

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


def distilled(name, kind, arguments, student, teacher, value, batch, *more, **rest):
    """A pair's distillation, which may lack either modality and depends on neither the order of samples nor a bias."""
    invariances = {"order of samples": reordered, "bias": biased, **dict(more)}
    absent = tuple(arguments["pair"])
    return Case(name, kind, arguments, student, teacher, value, batch, invariances=invariances, absent=absent, **rest)


LEARNED = {"agreement": "its least value depends on the teacher, and on the fusion, which is learned"}
CASES += [
    distilled(
        "Affinity, audio and image",
        Affinity,
        {"pair": ["audio", "image"]},
        AUDIO_STUDENT,
        AUDIO_TEACHER,
        named_back(affinity_oracle()),
        {},
        ("rotation", turned),
        ("exchange of modalities", audio_exchanged),
        agrees=same_as_teacher,
    ),
    distilled(
        "Affinity, another pair of the teacher's",
        Affinity,
        {"pair": ["audio", "image"], "teacher_pair": PAIR},
        AUDIO_STUDENT,
        TEACHER,
        lambda term, student, teacher, batch: affinity_oracle()(
            term, {**student, "image": student["audio"], "text": student["image"]}, teacher, batch
        ),
        {},
        ("rotation", turned),
        agrees=lambda student, teacher, batch: (renamed({}, teacher, {})[1], teacher, batch),
        exempt={"masks": "the names differ, and the row above shows it"},
    ),
    distilled(
        "GradientDistillation",
        GradientDistillation,
        {"pair": PAIR},
        STUDENT,
        NARROW,
        gradient_oracle,
        BATCH,
        ("exchange of modalities", exchanged),
        agrees=same_as_teacher,
    ),
    distilled(
        "GradientDistillation, duplicates=negative",
        GradientDistillation,
        {"pair": PAIR, "duplicates": "negative"},
        STUDENT,
        NARROW,
        gradient_oracle,
        {},
        agrees=same_as_teacher,
    ),
    distilled(
        "GradientDistillation, widths differ",
        GradientDistillation,
        {"pair": PAIR},
        STUDENT,
        TEACHER,
        gradient_oracle,
        BATCH,
        exempt={"agreement": "the maps between the widths are learned"},
    ),
]
CASES += [
    distilled(
        f"AugmentedFeature{name}",
        AugmentedFeature,
        {"pair": PAIR, **arguments},
        STUDENT,
        TEACHER,
        value,
        BATCH,
        learns=0.95,
        exempt=LEARNED,
    )
    for name, arguments, value in (
        ("", {}, fused_oracle()),
        (", temperature=0.2", {"temperature": 0.2}, fused_oracle(5.0)),
    )
]
CASES += [
    Case(
        f"SigmoidDistillation{name}",
        SigmoidDistillation,
        {"pair": PAIR, **arguments},
        STUDENT,
        teacher,
        value,
        batch,
        agrees=agrees,
        invariances=SYMMETRIES,
        absent=("image", "text"),
    )
    for name, arguments, teacher, value, batch, agrees in (
        ("", {}, SIGMOID_TEACHER, sigmoid_divergence_oracle("own", "own"), BATCH, same_as_teacher),
        (
            ", teacher_bias=fitted",
            {"teacher_bias": "fitted"},
            TEACHER,
            sigmoid_divergence_oracle("own", "fitted", POSITIVES),
            BATCH,
            fitted_as_teacher,
        ),
        (
            ", student_bias=fitted",
            {"student_bias": "fitted"},
            SIGMOID_TEACHER,
            sigmoid_divergence_oracle("fitted", "own"),
            BATCH,
            same_as_teacher,
        ),
        (
            ", biases fitted, duplicates=negative",
            {"student_bias": "fitted", "teacher_bias": "fitted", "duplicates": "negative"},
            TEACHER,
            sigmoid_divergence_oracle("fitted", "fitted"),
            {},
            same_as_teacher,
        ),
    )
]
CASES += [
    Case(
        "GapLoss",
        GapLoss,
        {"pair": PAIR},
        STUDENT,
        {},
        lambda term, student, teacher, batch: oracle.squared_gap(student["image"], student["text"]),
        agrees=concentric,
        invariances={**SYMMETRIES, "the same added to both": moved_together},
        absent=("image", "text"),
    )
]
TILED = (Contrastive, Affinity, InteractiveContrastive)
CASES += [  # tiles of 3 rows and columns do not divide 8
    replace(case, name=f"{case.name}, tile=3", arguments={**case.arguments, "tile": 3})
    for case in CASES
    if case.kind in TILED
]
