"""Maps: segmentation and detection."""

import torch
from torch import nn

from kdmm.losses import CWD, FGD, PKD, PixelKL
from tests.losses.cases.stages import LEARNED, MAPS, ORDER, WIDER, adapted, of, of_layer, randoms, same, shuffled
from tests.losses.conformance import Case
from tests.oracles import dense as oracle

LOGITS = {"logits": MAPS[0]["map"]}, {"logits": 2 * MAPS[1]["map"]}
VALID = {"valid/logits": torch.arange(6 * 4 * 3).reshape(6, 4, 3) % 3 != 1}
LABEL = {"label": torch.where(torch.arange(6 * 4 * 3).reshape(6, 4, 3) % 7 < 2, 255, 3)}
LARGE = {"mask": torch.where(torch.arange(6 * 8 * 6).reshape(6, 8, 6) % 11 < 3, 255, 1)}


def brighter_channels(student, teacher, batch):
    return *(
        {k: x + randoms(1, 4, 1, 1) if x.ndim else x for k, x in each.items()} for each in (student, teacher)
    ), batch


def brighter_pixels(student, teacher, batch):
    return *({k: x + randoms(1, 6, 1, 4, 3) for k, x in each.items()} for each in (student, teacher)), batch


def contrasts(student, teacher, batch):
    """Another scale and offset of each channel of the student."""
    scale = randoms(1, 4, 1, 1).exp()
    return {k: scale * x + randoms(2, 4, 1, 1) for k, x in student.items()}, teacher, batch


def follows(student, teacher, batch):
    return {"map": 2 * teacher["map"] + 3}, teacher, batch


def elsewhere(student, teacher, batch):
    """Other logits where the label says that a pixel does not count."""
    off = (batch["label"] == 255)[:, None]
    return *({k: torch.where(off, torch.nan, x) for k, x in each.items()} for each in (student, teacher)), batch


def out_of_sight(student, teacher, batch):
    off = ~VALID["valid/logits"][:, None]
    changed = (
        {k: torch.where(off, torch.nan, x) if k == "logits" else x for k, x in each.items()}
        for each in (student, teacher)
    )
    return *changed, batch


def cwd_oracle(term, student, teacher, batch):
    places = student["valid/logits"].tolist() if "valid/logits" in student else None
    return oracle.channel_divergence(student["logits"].tolist(), teacher["logits"].tolist(), term.temperature, places)


def pixel_oracle(term, student, teacher, batch):
    labels = LARGE["mask"][:, 1::2, 1::2] if term.label == "mask" else LABEL["label"]
    ours = [oracle.bilinear(sample, 4, 3) for sample in student["logits"].tolist()]
    counts = (labels != 255).tolist() if term.label else torch.ones(6, 4, 3).tolist()
    return oracle.pixel_divergence(ours, teacher["logits"].tolist(), term.temperature, counts)


# boxes

BOXES = {
    "boxes": torch.tensor(
        [
            [[0, 0, 30, 20], [10, 5, 20, 15]],
            [[4, 4, 8, 8], [60, 40, 64, 50]],
            [[0, 0, 64, 50], [20, 20, 40, 40]],
            [[32, 0, 33, 50], [0, 25, 64, 26]],
            [[1, 1, 2, 2], [1, 1, 2, 2]],
            [[16, 10, 48, 40], [30, 30, 64, 50]],
        ],
        dtype=torch.float64,
    ),
    "image_size": (50, 64),
}
WEIGHTS = {"foreground": 1.0, "background": 0.5, "attention": 0.2, "relation": 0.1}


def shuffled_boxes(student, teacher, batch):
    student, teacher, _ = shuffled(student, teacher, {})
    return student, teacher, {**batch, "boxes": batch["boxes"][ORDER]}


def doubled(student, teacher, batch):
    return student, teacher, {"boxes": [2 * boxes for boxes in batch["boxes"]], "image_size": (100, 128)}


class Woken(FGD):
    """With contexts as if they had learned something: they begin as zero."""

    def build(self, student, teacher, batch):
        super().build(student, teacher, batch)
        for context in (self.student_context, self.teacher_context):
            nn.init.normal_(context.widen.weight)
            nn.init.normal_(context.norm.bias)


def fgd_oracle(term, student, teacher, batch):
    contexts = [
        [of(context.attend), of(context.narrow), of(context.norm), of(context.widen)]
        for context in (term.student_context, term.teacher_context)
    ]
    settings = {name: getattr(term, name) for name in (*WEIGHTS, "temperature")}
    samples = zip(adapted(term.adapter, student["map"]), teacher["map"].tolist(), batch["boxes"].tolist(), strict=True)
    values = [oracle.fgd(*sample, batch["image_size"], contexts, settings) for sample in samples]
    return sum(values) / len(values)


CASES = [
    Case(
        "CWD",
        CWD,
        {},
        *LOGITS,
        cwd_oracle,
        agrees=same,
        invariances={"order of samples": shuffled, "offset of a channel": brighter_channels},
        absent=("logits",),
    ),
    Case(
        "CWD, places that do not count",
        CWD,
        {"temperature": 1},
        *({**logits, **VALID} for logits in LOGITS),
        cwd_oracle,
        agrees=same,
        invariances={"order of samples": shuffled, "what does not count": out_of_sight},
        absent=("logits",),
    ),
    Case(
        "CWD, other channels",
        CWD,
        {"student": "map", "teacher": "map"},
        *WIDER,
        of_layer("map", lambda ours, theirs: oracle.channel_divergence(ours, theirs, 4.0)),
        invariances={"order of samples": shuffled},
        absent=("map",),
        exempt={"agreement": LEARNED},
    ),
    Case(
        "PixelKL",
        PixelKL,
        {"temperature": 2},
        *LOGITS,
        pixel_oracle,
        LABEL,
        agrees=same,
        invariances={"order of samples": shuffled, "offset of a pixel": brighter_pixels, "ignored pixels": elsewhere},
        absent=("logits",),
    ),
    Case(
        "PixelKL, label=null",
        PixelKL,
        {"label": None},
        *LOGITS,
        pixel_oracle,
        agrees=same,
        invariances={"order of samples": shuffled, "offset of a pixel": brighter_pixels},
        absent=("logits",),
    ),
    Case(
        "PixelKL, other sizes",
        PixelKL,
        {"label": "mask"},
        {"logits": randoms(3, 6, 4, 2, 2)},
        LOGITS[1],
        pixel_oracle,
        LARGE,
        invariances={"order of samples": shuffled},
        absent=("logits",),
        exempt={"agreement": "logits of a smaller map cannot agree with all of a larger one"},
    ),
    Case(
        "PKD",
        PKD,
        {"student": "map", "teacher": "map"},
        *MAPS,
        of_layer("map", oracle.correlation_loss),
        agrees=follows,
        invariances={"order of samples": shuffled, "scale and offset": contrasts},
        absent=("map",),
    ),
    Case(
        "PKD, other channels",
        PKD,
        {"student": "map", "teacher": "map"},
        *WIDER,
        of_layer("map", oracle.correlation_loss),
        invariances={"order of samples": shuffled},
        absent=("map",),
        exempt={"agreement": LEARNED},
    ),
    Case(
        "FGD",
        FGD,
        {"student": "map", "teacher": "map"},
        *MAPS,
        fgd_oracle,
        BOXES,
        agrees=same,
        invariances={"order of samples": shuffled_boxes, "size of the image": doubled},
        absent=("map",),
    ),
    Case(
        "FGD, contexts learned, other channels",
        Woken,
        {"student": "map", "teacher": "map", **WEIGHTS},
        *WIDER,
        fgd_oracle,
        BOXES,
        invariances={"order of samples": shuffled_boxes, "size of the image": doubled},
        absent=("map",),
        exempt={"agreement": LEARNED},
    ),
]
