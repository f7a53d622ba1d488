"""What holds for every term: precision, the teacher's rest, learning, masks, and saying beforehand what it reads."""

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

import kdmm.losses
from kdmm.losses import Affinity, Contrastive, FeatureMatch, InteractiveContrastive
from tests.losses.data import scalar, unit

B, D, E = 8, 6, 9
PAIR = ["image", "text"]
TERMS = {  # (class, arguments as in a YAML)
    "contrastive": (Contrastive, {"pair": PAIR}),
    "contrastive sigmoid": (Contrastive, {"pair": PAIR, "form": "sigmoid"}),
    "contrastive, duplicates apart": (Contrastive, {"pair": PAIR, "duplicates": "negative"}),
    "affinity": (Affinity, {"pair": PAIR}),
    "affinity, temperatures": (Affinity, {"pair": PAIR, "teacher_temperature": 0.02, "student_temperature": 0.1}),
    "affinity, pairs": (Affinity, {"pair": PAIR, "over": "pairs", "teacher_temperature": 0.05}),
    "feature": (FeatureMatch, {"student": "image", "teacher": "image", "student_width": D, "teacher_width": E}),
    "feature across": (
        FeatureMatch,
        {"student": "text", "teacher": "image", "distance": "cosine", "student_width": D, "teacher_width": E},
    ),
    "interactive": (InteractiveContrastive, {"pair": PAIR, "student_width": D, "teacher_width": E}),
    "interactive, temperature": (
        InteractiveContrastive,
        {"pair": PAIR, "temperature": 0.07, "student_width": D, "teacher_width": E},
    ),
}
every_term = pytest.mark.parametrize("name", TERMS)
BATCH = {"caption_id": torch.tensor([0, 1, 2, 0, 3, 4, 5, 5])}


def build(name):
    torch.manual_seed(0)
    kind, arguments = TERMS[name]
    return kind(**arguments).double()


def student_outputs(dtype=torch.float64, **extra):
    """A student's unit vectors as leaves, at CLIP's trained scale of 100, where half precision hurts most."""
    return {
        "image": unit(B, D, 1, dtype).requires_grad_(),
        "text": unit(B, D, 2, dtype).requires_grad_(),
        "logit_scale": scalar(100.0).to(dtype).requires_grad_(),
        "logit_bias": scalar(-10.0).to(dtype).requires_grad_(),
        **extra,
    }


def teacher_outputs(dtype=torch.float64, **extra):
    return {
        "image": unit(B, E, 3, dtype).requires_grad_(),
        "text": unit(B, E, 4, dtype).requires_grad_(),
        "logit_scale": scalar(80.0).to(dtype).requires_grad_(),
        **extra,
    }


@every_term
def test_the_teacher_gets_no_gradient(name):
    student, teacher = student_outputs(), teacher_outputs()
    build(name)(student, teacher, BATCH).backward()
    assert all(x.grad is None for x in teacher.values())
    assert any(x.grad is not None and x.grad.abs().sum() > 0 for x in student.values())


@every_term
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_low_precision_inputs_give_a_float32_value_close_to_float64(name, dtype, autocast):
    low = student_outputs(dtype), teacher_outputs(dtype)
    high = [{key: x.detach().double() for key, x in outputs.items()} for outputs in low]  # the same rounded numbers
    term = build(name)
    expected = term(*high, BATCH)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = term.float()(*low, BATCH)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    value.backward()
    assert low[0]["image" if name != "feature across" else "text"].grad.isfinite().all()


@every_term
def test_float64_stays_float64(name):
    assert build(name)(student_outputs(), teacher_outputs(), BATCH).dtype is torch.float64


@every_term
def test_twenty_steps_lower_it(name):
    term = build(name)
    raw = {key: unit(B, D, seed).requires_grad_() for key, seed in (("image", 1), ("text", 2))}
    log_scale, bias = scalar(2.0, True), scalar(-5.0, True)
    optimizer = torch.optim.Adam([*raw.values(), log_scale, bias, *term.parameters()], lr=0.05)
    teacher = {**teacher_outputs(), "logit_scale": scalar(10.0)}
    values = []
    for _ in range(20):
        student = {key: F.normalize(x, dim=1) for key, x in raw.items()}
        value = term({**student, "logit_scale": log_scale.exp(), "logit_bias": bias}, teacher, BATCH)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


@every_term
def test_nothing_present_is_zero_with_zero_gradients(name):
    nothing = {"present/image": torch.zeros(B, dtype=torch.bool), "present/text": torch.zeros(B, dtype=torch.bool)}
    term, student = build(name), student_outputs(**nothing)
    value = term(student, teacher_outputs(**nothing), BATCH)
    assert value == 0
    value.backward()
    for x in (*student.values(), *term.parameters()):
        assert x.grad is None or (x.grad == 0).all()
    assert all(p.grad is not None for p in term.parameters())


@every_term
def test_what_is_absent_does_not_matter(name):
    flags = {"present/image": torch.arange(B) != 2, "present/text": torch.arange(B) != 5}
    term = build(name)

    def value(junk):
        absent = {key: ~flags[f"present/{key}"][:, None] for key in PAIR}
        student, teacher = student_outputs(**flags), teacher_outputs(**flags)
        for key in PAIR:
            student[key] = torch.where(absent[key], junk, student[key])
            teacher[key] = torch.where(absent[key], junk, teacher[key])
        return term(student, teacher, BATCH)

    torch.testing.assert_close(value(0.0), value(5.0), rtol=0, atol=0)


@every_term
def test_order_of_samples_does_not_matter(name):
    order = torch.tensor([3, 0, 7, 5, 1, 6, 4, 2])
    flags = {"present/image": torch.arange(B) != 2, "present/text": torch.arange(B) != 5}

    def moved(outputs):
        return {key: x[order] if x.ndim else x for key, x in outputs.items()}

    student, teacher, term = student_outputs(**flags), teacher_outputs(**flags), build(name)
    torch.testing.assert_close(
        term(moved(student), moved(teacher), moved(BATCH)), term(student, teacher, BATCH), rtol=1e-10, atol=0
    )


class Recorded(Mapping):
    """Outputs that note which names were read; the first is a dummy, which the type checker reads."""

    def __init__(self, outputs):
        self.outputs, self.read = {"present/audio": torch.zeros(B, dtype=torch.bool), **outputs}, set()

    def __getitem__(self, name):
        self.read.add(name)
        return self.outputs[name]

    def __contains__(self, name):
        return name in self.outputs

    def __iter__(self):
        return iter(self.outputs)

    def __len__(self):
        return len(self.outputs)


@every_term
def test_it_reads_what_it_says_it_reads(name):
    kind, arguments = TERMS[name]
    student, teacher = Recorded(student_outputs()), Recorded(teacher_outputs())
    build(name)(student, teacher, BATCH)
    told = kind.reads(arguments)
    for outputs, names in ((student, told[0]), (teacher, told[1])):
        assert {x for x in outputs.read if not x.startswith("present/")} == names


@pytest.mark.parametrize("kind", [Contrastive, Affinity, FeatureMatch, InteractiveContrastive])
@pytest.mark.parametrize("arguments", [{}, {"pair": 3, "student": [1], "teacher": None, "form": 4}])
def test_saying_what_it_reads_never_fails_on_wrong_arguments(kind, arguments):
    for names in kind.reads(arguments):
        assert names <= {"logit_scale"}


def test_everything_public_is_listed_by_name():
    for name in kdmm.losses.__all__:
        assert getattr(kdmm.losses, name).__doc__, name
    assert kdmm.losses.__all__ == sorted(kdmm.losses.__all__)
