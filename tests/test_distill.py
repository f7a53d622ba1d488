"""Two plain modules and a loader: what a user's own script does."""

import copy
import functools

import pytest
import timm
import torch
import torch.nn.functional as F
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForSequenceClassification

import kdmm
from kdmm.errors import InputError, NonFiniteLossError
from kdmm.losses import KD, CrossEntropy, HiddenStates, Hint, Linear

CLASSES = 4


def separable(count=96, width=8):
    """Points around one centre a class."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(count) % CLASSES
    centres = 3 * torch.eye(CLASSES, width)
    return centres[label] + 0.3 * torch.randn(count, width, generator=generator), label


def perceptron(width, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Linear(width, CLASSES))


def trained_teacher():
    x, y = separable()
    model = perceptron(32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def teacher():
    return trained_teacher()


def loader(with_labels=True):
    x, y = separable()
    return DataLoader(TensorDataset(x, y) if with_labels else TensorDataset(x), batch_size=32)


def test_a_student_learns_the_teachers_answers_without_labels(teacher):
    student = perceptron(6, 2)
    x, _ = separable()
    before = (student.eval()(x).argmax(1) == teacher.eval()(x).argmax(1)).float().mean()
    done = kdmm.distill(student, teacher, loader(False), {"kd": KD(temperature=2.0)}, epochs=15, lr=0.02)
    assert done.student is student
    assert not student.training
    after = (student(x).argmax(1) == teacher.eval()(x).argmax(1)).float().mean()
    assert before < 0.6
    assert after > 0.95
    assert len(done.history) == 15 * 3
    assert done.history[-1]["train/kd"] < 0.2 * done.history[0]["train/kd"]


def test_the_teacher_is_as_it_was(teacher):
    kept = copy.deepcopy(teacher.state_dict())
    teacher.train()
    teacher[0].weight.requires_grad_(False)
    kdmm.distill(perceptron(6, 2), teacher, loader(), {"kd": KD()}, teacher_taps={"hidden": "0"})
    assert all(torch.equal(value, kept[name]) for name, value in teacher.state_dict().items())
    assert teacher.training
    assert not teacher[0].weight.requires_grad
    assert teacher[3].weight.requires_grad
    assert not teacher[0]._forward_hooks
    teacher[0].weight.requires_grad_(True)


def test_the_loss_is_what_the_terms_say(teacher):
    """One step of plain gradient descent, by hand."""
    student, by_hand = perceptron(6, 2), perceptron(6, 2)
    x, y = separable()
    for model in (student, by_hand):
        model[2].p = 0.0
    sgd = functools.partial(torch.optim.SGD, lr=0.1)
    terms = {"hard": CrossEntropy(), "kd": KD(temperature=3.0)}
    weights = {"hard": 0.5, "kd": 2.0}
    kdmm.distill(student, teacher, [(x, y)], terms, weights, optimizer=sgd)
    with torch.no_grad():
        p = (teacher.eval()(x) / 3).softmax(1)
    logits = by_hand(x)
    kl = 9 * (p * (p.log() - (logits / 3).log_softmax(1))).sum(1).mean()
    (0.5 * F.cross_entropy(logits, y) + 2 * kl).backward()
    for ours, theirs in zip(student.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), (theirs - 0.1 * theirs.grad).detach())


def test_two_resnets_of_timm_with_taps_on_both():
    torch.manual_seed(0)
    teacher = timm.create_model("resnet18", num_classes=CLASSES)
    student = timm.create_model("test_resnet", num_classes=CLASSES)
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % CLASSES
    done = kdmm.distill(
        student,
        teacher,
        DataLoader(TensorDataset(images, labels), batch_size=8),
        {"hard": CrossEntropy(), "kd": KD(), "map": Hint("map", "map")},
        {"hard": 1.0, "kd": 1.0, "map": Linear(0.0, 100.0)},
        epochs=4,
        student_taps={"map": "layer3"},
        teacher_taps={"map": "layer3"},
    )
    assert done.history[-1]["train/map"] < done.history[1]["train/map"]  # the first step has no weight on it
    assert [row["train/weight/map"] for row in done.history] == pytest.approx([100 * n / 8 for n in range(8)])
    assert student(images).shape == (16, CLASSES)


def bert(layers, width):
    torch.manual_seed(layers)
    config = BertConfig(
        vocab_size=30,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        num_labels=CLASSES,
    )
    return BertForSequenceClassification(config)


def test_two_transformers_with_taps_on_both():
    tokens = torch.randint(1, 30, (12, 6), generator=torch.Generator().manual_seed(0))
    batches = [
        {
            "input_ids": tokens[rows],
            "attention_mask": torch.ones(4, 6, dtype=torch.long),
            "labels": torch.tensor([0, 1, 2, 3]),
        }
        for rows in (slice(0, 4), slice(4, 8), slice(8, 12))
    ]
    student, teacher = bert(2, 8), bert(4, 16)
    done = kdmm.distill(
        student,
        teacher,
        batches,
        {"kd": KD(), "hard": CrossEntropy(), "states": HiddenStates({"one": "one", "two": "two"})},
        epochs=12,
        lr=0.01,
        student_taps={"one": "bert.encoder.layer.0", "two": "bert.encoder.layer.1"},
        teacher_taps={"one": "bert.encoder.layer.1", "two": "bert.encoder.layer.3"},
    )
    assert done.history[-1]["train/states"] < 0.9 * done.history[0]["train/states"]


def test_it_draws_nothing_from_ones_own_generators(teacher):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = kdmm.distill(perceptron(6, 2), teacher, loader(), {"kd": KD()})
    torch.manual_seed(5)
    again = kdmm.distill(perceptron(6, 2), teacher, loader(), {"kd": KD()})
    assert [row["train/kd"] for row in first.history] == [row["train/kd"] for row in again.history]
    torch.manual_seed(5)
    kdmm.distill(perceptron(6, 2), teacher, [(separable()[0], separable()[1])], {"kd": KD()})
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), expected)


def test_it_says_which_yaml_does_the_same(teacher):
    terms = {"hard": CrossEntropy(), "kd": KD(temperature=2.0, divergence="reverse")}
    done = kdmm.distill(perceptron(6, 2), teacher, loader(), terms, {"hard": 1.0, "kd": Linear(0.0, 2.0)}, lr=0.01)
    tree = yaml.safe_load(done.yaml)
    objective = tree["module"]["objective"]
    assert objective["terms"]["kd"] == {
        "_target_": "kdmm.losses.KD",
        "temperature": 2.0,
        "divergence": "reverse",
    }
    assert objective["weights"]["kd"] == {
        "_target_": "kdmm.losses.Linear",
        "start": 0.0,
        "end": 2.0,
        "since": 0.0,
        "until": 1.0,
    }
    assert tree["module"]["optimization"]["optimizer"]["lr"] == 0.01
    built = kdmm.targets.build(objective)
    assert [type(term).__name__ for term in built.terms.values()] == ["CrossEntropy", "KD"]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "the loader is empty"),
        (iter([(torch.zeros(2, 8), torch.zeros(2))]), "the loader has no length"),
        ([3], "a batch of the loader is int"),
        ([("a", torch.zeros(2))], "no tensor"),
    ],
)
def test_a_loader_that_gives_nothing_usable_is_explained(teacher, batches, message):
    with pytest.raises(InputError, match=message):
        kdmm.distill(perceptron(6, 2), teacher, batches, {"kd": KD()})


def test_a_term_that_reads_what_no_model_gives_is_explained(teacher):
    with pytest.raises(InputError, match=r"student\.map, but the student gives only logits"):
        kdmm.distill(perceptron(6, 2), teacher, loader(), {"map": Hint("map", "map")})


def test_a_loss_that_is_not_finite_ends_it(teacher):
    x, y = separable(32)
    with pytest.raises(NonFiniteLossError, match="kd"):
        kdmm.distill(perceptron(6, 2), teacher, [(x * torch.nan, y)], {"kd": KD()})
    assert teacher[0].weight.requires_grad
