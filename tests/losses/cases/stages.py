"""Activations between a model's stages: maps and tokens that follow the teacher's after a learned map."""

import torch

from kdmm.losses import OFD, VID, ReviewKD, SimKD
from tests.losses.conformance import Case
from tests.oracles import features as oracle

ORDER = torch.tensor([3, 0, 5, 1, 4, 2])
LEARNED = "the map to the teacher's shape is learned, so no student agrees by itself"


def randoms(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shuffled(student, teacher, batch):
    return tuple({k: x[ORDER] if x.ndim else x for k, x in each.items()} for each in (student, teacher, batch))


def same(student, teacher, batch):
    return {**student, **teacher}, teacher, batch


def moved(student, teacher, batch):
    return *({k: x + 3 for k, x in each.items()} for each in (student, teacher)), batch


def of(layer):
    """A linear map's or convolution's weight and bias as lists."""
    return layer.weight.tolist(), layer.bias.tolist()


def adapted(adapter, samples):
    """What `Fit` makes of samples of unchanged size, as lists."""
    layer = getattr(adapter.chosen, "map", None) or getattr(getattr(adapter.chosen, "width", None), "map", None)
    if layer is None:
        return samples.tolist()
    function = oracle.convolve if samples.ndim == 4 else oracle.linear
    return [function(sample, *of(layer)) for sample in samples.tolist()]


def of_layer(name, loss):
    """An oracle over one layer, from what the adapter makes of the student's and the teacher's."""

    def value(term, student, teacher, batch):
        return loss(adapted(term.adapter, student[name]), teacher[name].tolist())

    return value


TOKENS = {"tokens": randoms(1, 6, 5, 3)}, {"tokens": randoms(2, 6, 5, 4)}
MAPS = {"map": randoms(5, 6, 4, 4, 3)}, {"map": randoms(6, 6, 4, 4, 3)}
WIDER = {"map": randoms(7, 6, 3, 4, 3)}, MAPS[1]
STAGES = (
    {"map": randoms(5, 6, 4, 4, 3), "deep": randoms(8, 6, 3, 2, 2)},
    {"map": randoms(6, 6, 4, 4, 3), "deep": randoms(9, 6, 4, 2, 2)},
)
BOTH = {"map": "map", "deep": "deep"}
ALIKE = {"map": "map"}


def ofd_oracle(term, student, teacher, batch):
    total = 0.0
    for (name, _), adapter in zip(term.layers, term.adapters, strict=True):
        target = teacher[name].tolist()
        total += oracle.partial_error(adapted(adapter, student[name]), target, oracle.channel_margins(target))
    return total


def lowered(student, teacher, batch):
    """Less where the teacher is below its channel's margin and the student too: enough is enough."""
    margins = torch.tensor(oracle.channel_margins(teacher["map"].tolist()), dtype=torch.float64).reshape(-1, 1, 1)
    off = (teacher["map"] <= margins) & (student["map"] <= margins)
    assert off.any()
    return {"map": torch.where(off, student["map"] - 2, student["map"])}, teacher, batch


def vid_oracle(term, student, teacher, batch):
    layers = zip(term.layers, term.adapters, term.raw_variances, strict=True)
    return sum(
        oracle.gaussian_surprise(adapted(adapter, student[name]), teacher[name].tolist(), raw.tolist())
        for (name, _), adapter, raw in layers
    )


def vid_least(term, student, teacher, batch):
    """Half the log variance, where every prediction is exact."""
    return sum((torch.nn.functional.softplus(raw) + 1e-5).log().mean().item() / 2 for raw in term.raw_variances)


def predicting(student, teacher, batch):
    """The student's map from which the term's first map makes the teacher's."""
    layer = VID_ALONE.term().adapters[0].chosen.map
    wanted = (teacher["map"].movedim(1, -1) - layer.bias) @ torch.linalg.inv(layer.weight[:, :, 0, 0]).T
    return {"map": wanted.movedim(-1, 1).detach()}, teacher, batch


def review_oracle(term, student, teacher, batch):
    fusions = [(of(f.narrow), None if f.attend is None else of(f.attend), of(f.widen)) for f in term.fusions]
    names = [name for name, _ in term.layers]
    values = [
        oracle.review([student[n][b].tolist() for n in names], [teacher[n][b].tolist() for n in names], fusions)
        for b in range(6)
    ]
    return sum(values) / 6


def sim_oracle(term, student, teacher, batch):
    p = term.projector
    projected = []
    for sample in student["map"].tolist():
        narrow = oracle.relu(oracle.convolve(oracle.pool(sample, 2, 2), *of(p.narrow)))
        projected.append(oracle.convolve(oracle.relu(oracle.convolve(narrow, *of(p.mix))), *of(p.widen)))
    return oracle.hint(projected, teacher["map"].tolist())


VID_ALONE = Case(
    "VID",
    VID,
    {"layers": ALIKE},
    *MAPS,
    vid_oracle,
    agrees=predicting,
    least=vid_least,
    invariances={"order of samples": shuffled},
    absent=("map",),
)
CASES = [
    Case(
        "OFD",
        OFD,
        {"layers": ALIKE},
        *MAPS,
        ofd_oracle,
        agrees=same,
        invariances={"order of samples": shuffled, "less where the teacher is off": lowered},
        absent=("map",),
    ),
    Case(
        "OFD, layers of other widths",
        OFD,
        {"layers": BOTH},
        *STAGES,
        ofd_oracle,
        invariances={"order of samples": shuffled},
        absent=("map", "deep"),
        exempt={"agreement": LEARNED},
    ),
    VID_ALONE,
    Case(
        "VID, layers of other widths",
        VID,
        {"layers": BOTH},
        *STAGES,
        vid_oracle,
        least=vid_least,
        invariances={"order of samples": shuffled},
        absent=("map", "deep"),
        exempt={"agreement": LEARNED},
    ),
    Case(
        "ReviewKD",
        ReviewKD,
        {"layers": BOTH, "width": 2},
        *STAGES,
        review_oracle,
        invariances={"order of samples": shuffled},
        absent=("map", "deep"),
        exempt={"agreement": LEARNED},
    ),
    Case(
        "SimKD",
        SimKD,
        {"student": "map", "teacher": "map"},
        WIDER[0],
        {"map": randoms(6, 6, 4, 2, 2)},
        sim_oracle,
        invariances={"order of samples": shuffled},
        absent=("map",),
        exempt={"agreement": LEARNED},
    ),
]
