"""Time and memory of a step of each loss, forward and backward, against the plain contrastive one.

4,096 rows of width 512: embeddings, features and class scores (4096, 512), token scores and hidden states
(64, 64, 512), maps (64, 512, 8, 8), attention (64, 8, 64, 64); on a GPU what no model normalizes is in bfloat16, as in
mixed precision. The losses take turns, so that what slows the machine slows all; memory is what the process, or the
GPU, needs beyond what it held before the step, at its peak.
"""

from __future__ import annotations

import statistics

import torch
import torch.nn.functional as F
from torch import Tensor

from kdmm import losses
from kdmm.losses import Objective
from tests.bench.device import CUDA, DEVICE, mixed, now, peak_mib

ROWS, WIDTH, ROUNDS = 4096, 512, 5
PAIR = ["image", "text"]
VECTORS = {"student": "image", "teacher": "image"}
LAYERS = {"layers": {"map": "map", "early": "early"}}
TERMS = {
    "Contrastive": {"pair": PAIR},
    "Affinity": {"pair": PAIR},
    "InteractiveContrastive": {"pair": PAIR},
    "GradientDistillation": {"pair": PAIR},
    "AugmentedFeature": {"pair": PAIR},
    "SigmoidDistillation": {"pair": PAIR},
    "FeatureMatch": VECTORS,
    "RKD": {**VECTORS, "angle": 0.0},  # the angles are of all triplets: 69 thousand million at this size
    "PKT": VECTORS,
    "SimilarityPreserving": VECTORS,
    "CorrelationCongruence": VECTORS,
    "CKA": VECTORS,
    "CRD": VECTORS,
    "KD": {},
    "DKD": {},
    "NKD": {},
    "DIST": {},
    "MultiLevelLogits": {},
    "LogitMSE": {},
    "Hint": {"student": "map", "teacher": "map"},
    "AttentionTransfer": LAYERS,
    "OFD": LAYERS,
    "VID": LAYERS,
    "CWD": {"student": "map", "teacher": "map"},
    "PKD": {"student": "map", "teacher": "map"},
    "TokenKL": {"student": "tokens", "teacher": "tokens"},
    "HiddenStates": {"layers": {"tokens": "tokens"}},
    "AttentionMaps": {"layers": {"heads": "heads"}},
    "SequenceCrossEntropy": {"logits": "tokens", "label": "labels"},
    "CrossEntropy": {},
    "TeacherFree": {},
    "RDrop": {"again": "again"},
    "ReviewKD": LAYERS,
    "SimKD": {"student": "map", "teacher": "map"},
    "MaskedFeature": {"student": "map", "teacher": "map"},
    "MGD": {"student": "map", "teacher": "map"},
    "FGD": {"student": "map", "teacher": "map"},
    "PixelKL": {"student": "map", "teacher": "map", "label": None},
    "PixelCrossEntropy": {"logits": "map"},
    "PairwisePixels": {"student": "map", "teacher": "map", "patch": 1},
    "GapLoss": {"pair": PAIR},
}


def outputs(seed: int, grad: bool) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    found = {
        "image": F.normalize(drawn(ROWS, WIDTH), dim=1),
        "text": F.normalize(drawn(ROWS, WIDTH), dim=1),
        "logits": drawn(ROWS, WIDTH),
        "map": drawn(64, WIDTH, 8, 8),
        "early": drawn(64, WIDTH, 8, 8),
        "tokens": drawn(64, 64, WIDTH),
        "heads": drawn(64, 8, 64, 64).softmax(-1),
        "again": drawn(ROWS, WIDTH),
        "logit_scale": torch.tensor(20.0),
        "logit_bias": torch.tensor(-10.0),
    }
    narrow = torch.bfloat16 if CUDA else torch.float32
    wide = {"image", "text", "logit_scale", "logit_bias"}
    return {
        name: tensor.to(DEVICE, torch.float32 if name in wide else narrow).requires_grad_(grad)
        for name, tensor in found.items()
    }


def step(objective: Objective, student: dict[str, Tensor], teacher: dict[str, Tensor]) -> float:
    """Return the seconds of one step."""
    numbers = torch.arange(ROWS, device=DEVICE) % WIDTH
    batch = {
        "label": numbers,
        "labels": numbers.reshape(64, 64),
        "label_map": numbers.reshape(64, 8, 8),
        "boxes": [torch.tensor([[10.0, 20.0, 60.0, 90.0]], device=DEVICE)] * 64,
        "image_size": (128, 128),
        "id": [str(n) for n in range(ROWS)],
    }
    began = now()
    with mixed():
        total, _ = objective(student, teacher, batch)
    total.backward()
    taken = now() - began
    for tensor in (*student.values(), *objective.parameters()):
        tensor.grad = None
    return taken


def objective_of(name: str, student: dict[str, Tensor], teacher: dict[str, Tensor]) -> Objective:
    """Return the objective of one loss, after a step, which allocates and chooses kernels."""
    objective = Objective({"term": getattr(losses, name)(**TERMS[name])})
    objective.build(student, teacher, {})
    step(objective.to(DEVICE), student, teacher)
    return objective


def main() -> None:
    student, teacher = outputs(1, True), outputs(2, False)
    objectives = {name: objective_of(name, student, teacher) for name in TERMS}
    memory = {name: peak_mib(lambda each=each: step(each, student, teacher)) for name, each in objectives.items()}
    seconds: dict[str, list[float]] = {name: [] for name in objectives}
    for _ in range(ROUNDS):
        for name, objective in objectives.items():
            seconds[name].append(step(objective, student, teacher))
    plain = seconds["Contrastive"]
    print(f"{'loss':24}{'ms':>8}{'of contrastive':>16}{'MiB':>8}")
    for name in objectives:
        ratio = statistics.median(ours / theirs for ours, theirs in zip(seconds[name], plain, strict=True))
        print(f"{name:24}{1000 * statistics.median(seconds[name]):8.0f}{ratio:16.2f}{memory[name]:8.0f}")
