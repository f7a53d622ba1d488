"""Maps: segmentation and detection."""

import torch
from torch import nn

from kdmm.losses import CWD, FGD, PKD, AnchorKD, PairwisePixels, PixelCrossEntropy, PixelKL
from tests.losses.cases.stages import LEARNED, MAPS, WIDER, adapted, of, of_layer, randoms, same, shuffled
from tests.losses.conformance import Case
from tests.oracles import dense as oracle

LOGITS = {"logits": MAPS[0]["map"]}, {"logits": 2 * MAPS[1]["map"]}
VALID = {"valid/logits": torch.arange(6 * 4 * 3).reshape(6, 4, 3) % 3 != 1}
LABEL = {"label_map": torch.where(torch.arange(6 * 4 * 3).reshape(6, 4, 3) % 7 < 2, 255, 3)}
CLASSES = {"mask": torch.where(torch.arange(6 * 4 * 3).reshape(6, 4, 3) % 5 < 2, 255, randoms(5, 6, 4, 3).argsort(1))}
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
    off = (batch["label_map"] == 255)[:, None]
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


def renumbered(student, teacher, batch):
    """The classes in another order."""
    label = batch["mask"]
    moved = torch.where(label == 255, label, (label + 1) % 4)
    return {k: x.roll(1, 1) for k, x in student.items()}, teacher, {**batch, "mask": moved}


def unlabelled(student, teacher, batch):
    """Other logits where nobody labelled a pixel."""
    off = (batch["mask"] == 255)[:, None]
    return {k: torch.where(off, torch.nan, x) for k, x in student.items()}, teacher, batch


def certain(student, teacher, batch):
    """All but certain of each label."""
    target = torch.nn.functional.one_hot(batch["mask"].clamp(max=3), 4).movedim(-1, 1).double()
    return {"logits": 100 * target}, teacher, batch


def cross_entropy_oracle(term, student, teacher, batch):
    height, width = batch["mask"].shape[1:]
    ours = [oracle.bilinear(sample, height, width) for sample in student["logits"].tolist()]
    return oracle.pixel_cross_entropy(ours, batch["mask"].tolist(), term.smoothing)


def pixel_oracle(term, student, teacher, batch):
    labels = LARGE["mask"][:, 1::2, 1::2] if term.label == "mask" else LABEL["label_map"]
    ours = [oracle.bilinear(sample, 4, 3) for sample in student["logits"].tolist()]
    counts = (labels != 255).tolist() if term.label else torch.ones(6, 4, 3).tolist()
    return oracle.pixel_divergence(ours, teacher["logits"].tolist(), term.temperature, counts)


# relations between regions

SEEN = {"valid/map": VALID["valid/logits"]}
FINER_MAP = {"map": randoms(9, 6, 3, 8, 6)}


def turned(student, teacher, batch):
    """The student's vectors rotated, and those of each picture of another length."""
    rotation = torch.linalg.qr(randoms(1, 4, 4)).Q
    rotated = torch.einsum("ncij,cd->ndij", student["map"], rotation)
    return {"map": randoms(2, 6, 1, 1, 1).exp() * rotated}, teacher, batch


def longer(student, teacher, batch):
    """The teacher's vector of each place of another length."""
    return student, {**teacher, "map": teacher["map"] * randoms(3, 6, 1, 4, 3).exp()}, batch


def unseen(student, teacher, batch):
    hidden = torch.where(~SEEN["valid/map"][:, None], torch.nan, teacher["map"])
    return student, {**teacher, "map": hidden}, batch


def enlarged(student, teacher, batch):
    """The student that gives each of the teacher's places four times."""
    return {"map": teacher["map"].repeat_interleave(2, 2).repeat_interleave(2, 3)}, teacher, batch


def pairwise_oracle(term, student, teacher, batch):
    grid = (2, 2) if term.patch == 2 else (4, 3)
    keep = teacher.get("valid/map", torch.ones(6, 4, 3, dtype=torch.bool))
    seen = torch.where(keep[:, None], teacher["map"], 0.0)
    return oracle.pairwise_difference(student["map"].tolist(), seen.tolist(), grid, keep.double().tolist())


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
    student, teacher, moved = shuffled(student, teacher, {k: x for k, x in batch.items() if k != "image_size"})
    return student, teacher, {**batch, **moved}


def doubled(student, teacher, batch):
    """All in pixels half as large."""
    if "detections" in teacher:
        scale = torch.tensor([2.0, 2, 2, 2, 1, 1], dtype=torch.float64)
        teacher = {**teacher, "detections": scale * teacher["detections"]}
    return student, teacher, {**batch, "boxes": [2 * boxes for boxes in batch["boxes"]], "image_size": (100, 128)}


class Woken(FGD):
    """With contexts as if they had learned something: they begin as zero."""

    def build(self, student, teacher, batch):
        super().build(student, teacher, batch)
        for context in (self.student_context, self.teacher_context):
            nn.init.normal_(context.widen.weight)
            nn.init.normal_(context.norm.bias)


DETECTED = {
    "detections": torch.cat(
        [BOXES["boxes"].flip(0), torch.tensor([[0.9, 0], [0.3, 1]], dtype=torch.float64).expand(6, 2, 2)], 2
    ),
    "valid/detections": torch.arange(6)[:, None].expand(6, 2) != 4,
}
SOME_MARKED = {**BOXES, "marked": torch.arange(6) % 3 == 0}


def boxes_for(teacher, batch):
    """The boxes of each sample as lists; of one that is not marked, the teacher's better one where there is one."""
    drawn = batch["boxes"].tolist()
    if "marked" not in batch:
        return drawn
    found = [[row[:4] for row in rows[:1]] for rows in teacher["detections"].tolist()]
    there, marked = teacher["valid/detections"].tolist(), batch["marked"].tolist()
    return [
        mine if known else theirs if seen[0] else []
        for mine, known, theirs, seen in zip(drawn, marked, found, there, strict=True)
    ]


def fgd_oracle(term, student, teacher, batch):
    contexts = [
        [of(context.attend), of(context.narrow), of(context.norm), of(context.widen)]
        for context in (term.student_context, term.teacher_context)
    ]
    settings = {name: getattr(term, name) for name in (*WEIGHTS, "temperature")}
    maps = adapted(term.adapter, student["map"]), teacher["map"].tolist()
    samples = zip(*maps, boxes_for(teacher, batch), strict=True)
    values = [oracle.fgd(*sample, batch["image_size"], contexts, settings) for sample in samples]
    return sum(values) / len(values)


# anchors


def rectangles(seed, *shape):
    """Boxes (x1, y1, x2, y2) of sides from 1 to 3 in a square of 6."""
    corner, sides = 4 * randoms(seed, *shape, 2).sigmoid(), 1 + 2 * randoms(seed + 1, *shape, 2).sigmoid()
    return torch.cat([corner, corner + sides], -1)


def detector(seed, anchors, boxes_seed, alike=True):
    """What a detector with anchors gives for 6 samples; of which each has the same anchors, or others."""
    count = len(anchors) if alike else anchors.shape[1]
    return {
        "class_logits": randoms(seed, 6, count, 3),
        "anchor_boxes": rectangles(boxes_seed, 6, count),
        "anchors": anchors.expand(6, -1, -1) if alike else anchors,
    }


GRID = torch.tensor([[x, y, x + 2, y + 2] for x in (0.0, 2.0, 4.0) for y in (0.0, 2.0, 4.0)], dtype=torch.float64)
FINER = torch.cat([rectangles(40, 11), torch.tensor([[20.0, 20, 21, 21], [3, 3, 3, 3]], dtype=torch.float64)])
ANCHORS = detector(41, GRID, 50), detector(42, GRID, 52)
OTHER_ANCHORS = detector(43, rectangles(54, 6, 7), 56, alike=False), detector(44, FINER, 58)
PLACES = {"valid/class_logits": torch.arange(6 * 13).reshape(6, 13) % 4 != 1}


def larger(student, teacher, batch):
    """Everything in pixels three times as large, and moved."""
    return *(
        {k: 3 * x + 5 if k.startswith("anchor") else x for k, x in each.items()} for each in (student, teacher)
    ), batch


def in_another_order(student, teacher, batch):
    """The anchors of each model in an order of its own."""
    changed = []
    for seed, each in enumerate((student, teacher)):
        order = torch.randperm(each["class_logits"].shape[1], generator=torch.Generator().manual_seed(seed))
        changed.append({k: x[:, order] for k, x in each.items()})
    return *changed, batch


def in_another_order_alike(student, teacher, batch):
    """The anchors of both models in the same other order, of which the term is told nothing."""
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    return *({k: x[:, order] for k, x in each.items()} for each in (student, teacher)), batch


HELD = {
    "gradcheck": "the weight of a box has no gradient; test_anchor_kd.py checks the gradient with weights held fixed"
}


def hidden_in_teacher(student, teacher, batch):
    """Other logits of the teacher's anchors that do not count."""
    off = ~PLACES["valid/class_logits"][..., None]
    changed = torch.where(off, torch.nan, teacher["class_logits"])
    return student, {**teacher, "class_logits": changed}, batch


def matched_with(student, teacher, batch):
    """The student that says at each anchor what the teacher says at the one that overlaps most."""
    keep = teacher.get("valid/class_logits", torch.ones(6, 13, dtype=torch.bool))
    taken = {k: x.clone() for k, x in student.items()}
    for b in range(6):
        seen = keep[b].nonzero().flatten().tolist()
        for i, anchor in enumerate(student["anchors"][b].tolist()):
            j = oracle.matched_anchor(anchor, teacher["anchors"][b][seen].tolist())
            if j is not None:
                for name in ("class_logits", "anchor_boxes"):
                    taken[name][b, i] = teacher[name][b, seen[j]]
    return taken, teacher, batch


def anchor_oracle(term, student, teacher, batch):
    keep = teacher.get("valid/class_logits", torch.ones(teacher["class_logits"].shape[:2], dtype=torch.bool))
    everything = torch.ones(student["class_logits"].shape[:2], dtype=torch.bool)
    samples = [
        [tuple(None if name is None else each[name][b][seen[b]].tolist() for name in names) for b in range(6)]
        for each, seen in ((student, everything), (teacher, keep))
        for names in [(term.classes, term.boxes, term.anchors)]
    ]
    return oracle.anchor_kd(*samples, term.box_weight)


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
        "PixelCrossEntropy",
        PixelCrossEntropy,
        {"label": "mask"},
        LOGITS[0],
        {},
        cross_entropy_oracle,
        CLASSES,
        agrees=certain,
        invariances={
            "order of samples": shuffled,
            "offset of a pixel": brighter_pixels,
            "order of classes": renumbered,
            "unlabelled pixels": unlabelled,
        },
        absent=("logits",),
    ),
    Case(
        "PixelCrossEntropy, other sizes, smoothing",
        PixelCrossEntropy,
        {"label": "mask", "smoothing": 0.2},
        LOGITS[0],
        {},
        cross_entropy_oracle,
        LARGE,
        invariances={"order of samples": shuffled},
        absent=("logits",),
        learns=0.95,
        exempt={"agreement": "smoothed labels leave an entropy, and a smaller map cannot give all of a larger one"},
    ),
    Case(
        "PairwisePixels",
        PairwisePixels,
        {"student": "map", "teacher": "map"},
        *MAPS,
        pairwise_oracle,
        agrees=same,
        invariances={"order of samples": shuffled, "rotation and scale": turned},
        absent=("map",),
    ),
    Case(
        "PairwisePixels, other sizes, places that do not count",
        PairwisePixels,
        {"student": "map", "teacher": "map", "patch": 1},
        FINER_MAP,
        {**MAPS[1], **SEEN},
        pairwise_oracle,
        agrees=enlarged,
        invariances={"order of samples": shuffled, "lengths": longer, "what does not count": unseen},
        absent=("map",),
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
    Case(
        "FGD, of pictures that are not marked what the teacher finds",
        FGD,
        {"student": "map", "teacher": "map", "least_score": 0.5, **WEIGHTS},
        MAPS[0],
        {**MAPS[1], **DETECTED},
        fgd_oracle,
        SOME_MARKED,
        agrees=same,
        invariances={"order of samples": shuffled_boxes, "size of the image": doubled},
        absent=("map",),
    ),
    Case(
        "AnchorKD",
        AnchorKD,
        {},
        *ANCHORS,
        anchor_oracle,
        agrees=same,
        invariances={
            "order of samples": shuffled,
            "size and place of the pixels": larger,
            "order of a model's anchors": in_another_order,
        },
        absent=("class_logits",),
        exempt=HELD,
    ),
    Case(
        "AnchorKD, the same anchors, scores alone",
        AnchorKD,
        {"boxes": None, "anchors": None},
        *ANCHORS,
        anchor_oracle,
        agrees=same,
        invariances={"order of samples": shuffled, "order of anchors": in_another_order_alike},
        absent=("class_logits",),
    ),
    Case(
        "AnchorKD, other anchors",
        AnchorKD,
        {"box_weight": 1},
        OTHER_ANCHORS[0],
        {**OTHER_ANCHORS[1], **PLACES},
        anchor_oracle,
        agrees=matched_with,
        invariances={
            "order of samples": shuffled,
            "size and place of the pixels": larger,
            "what does not count": hidden_in_teacher,
        },
        absent=("class_logits",),
        exempt=HELD,
    ),
]
