from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adafactor, AdamW
from torch.utils.data import DataLoader

from kdmm.losses import CrossEntropy, Objective
from kdmm.modules import SAM, Optimization, StudentModule
from kdmm.runs.quiet import quiet
from kdmm.runs.step_memory import StepMemory

ROWS, WIDTH, CLASSES = 16, 24, 8
WEIGHT, BIAS = WIDTH * CLASSES, CLASSES
TRAINED = WEIGHT + BIAS


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.layer = nn.Linear(WIDTH, CLASSES)
        self.norm = nn.BatchNorm1d(CLASSES, affine=False)

    def forward(self, part):
        return {"logits": self.norm(self.layer(self.frozen(part["x"])))}


def batches(count):
    label = torch.arange(ROWS) % CLASSES
    return [{"id": ["a"] * ROWS, "student": {"x": torch.randn(ROWS, WIDTH)}, "label": label} for _ in range(count)]


def found(optimizer, model=None, **settings):
    memory = StepMemory()
    objective = Objective({"hard": CrossEntropy("label")})
    module = StudentModule(model or Model(), objective, Optimization(optimizer, lr_scale={"student.layer.weight": 0.5}))
    without = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, limit_val_batches=0, callbacks=[memory], **without, **settings
    )
    with quiet():
        trainer.fit(module, DataLoader(batches(9), batch_size=None))
    return memory.tensors, memory.allocated


@pytest.mark.parametrize(
    ("optimizer", "states"),
    [
        (partial(SGD, lr=0.1), 0),
        (partial(SGD, lr=0.1, momentum=0.9), 4 * TRAINED),
        (partial(AdamW, lr=0.1), 8 * TRAINED + 2 * 4),  # two moments, and a count of steps for each of two tensors
        (partial(AdamW, lr=0.1, fused=True), 8 * TRAINED + 2 * 4),
        (partial(AdamW, lr=0.1, amsgrad=True), 12 * TRAINED + 2 * 4),
        (partial(Adafactor, lr=0.1), 4 * (CLASSES + WIDTH) + 4 * BIAS + 2 * 4),  # of a matrix its rows and columns
        (partial(SAM, base=partial(SGD, lr=0.1, momentum=0.9)), 4 * TRAINED),
    ],
)
def test_the_optimizer_itself_says_what_it_keeps(optimizer, states):
    memory, allocated = found(optimizer)
    assert memory.states == states
    assert memory.gradients == 4 * TRAINED
    buffers = 2 * 4 * CLASSES + 8
    assert memory.weights == 4 * (WIDTH * WIDTH + WIDTH + TRAINED) + buffers
    assert memory.teacher == 0
    assert memory.rest > 4 * ROWS * (2 * WIDTH + CLASSES)  # the batch, what the layer reads and what it returns
    assert memory.peak == memory.weights + memory.gradients + memory.states + memory.rest
    assert memory.peak <= allocated < memory.peak + memory.gradients + 2_000  # the old ones, and what kernels take


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Sigmoid()) for _ in range(20)])
        self.layer = nn.Linear(WIDTH, CLASSES)

    def forward(self, part):
        return {"logits": self.layer(self.layers(part["x"]))}


def test_half_precision_and_accumulation_count_as_they_are():
    sgd = partial(SGD, lr=0.1)
    whole, allocated = found(sgd, Chain())
    kept = 20 * 4 * ROWS * WIDTH
    assert kept < whole.rest < 1.2 * kept
    assert whole.peak <= allocated < whole.peak + whole.gradients
    halved, allocated = found(sgd, Chain(), precision="bf16-mixed")
    copies = 2 * 20 * WIDTH * WIDTH
    assert (halved.weights, halved.gradients) == (whole.weights, whole.gradients)
    assert kept / 2 + copies < halved.rest < 1.2 * (kept / 2 + copies)
    assert halved.peak <= allocated < halved.peak + halved.gradients
    summed, _ = found(sgd, Chain(), accumulate_grad_batches=3)
    assert (summed.weights, summed.gradients, summed.states) == (whole.weights, whole.gradients, 0)
    assert whole.rest <= summed.rest < whole.rest + whole.gradients
