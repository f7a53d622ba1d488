import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import DKD, decoupled_divergence, softmax_divergence


def scores(seed, rows=6, classes=5):
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER, LABELS = scores(1), scores(2), torch.tensor([0, 4, 2, 2, 1, 3])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_parts_make_up_kd_with_the_weight_of_the_other_classes_in_the_teacher(temperature):
    target, others = (
        decoupled_divergence(STUDENT, TEACHER, LABELS, *weights, temperature) for weights in ((1.0, 0.0), (0.0, 1.0))
    )
    p = (TEACHER / temperature).softmax(1).gather(1, LABELS[:, None]).squeeze(1)
    expected = softmax_divergence(STUDENT, TEACHER, "forward", temperature)
    torch.testing.assert_close(target + (1 - p) * others, expected)


def test_the_other_classes_part_is_kd_without_the_label():
    others = decoupled_divergence(STUDENT, TEACHER, torch.zeros(6, dtype=torch.long), 0.0, 1.0, 2.0)
    torch.testing.assert_close(others, softmax_divergence(STUDENT[:, 1:], TEACHER[:, 1:], "forward", 2.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gap", [20.0, 200.0])
def test_gaps_between_scores_at_which_log_of_a_softmax_is_infinite(dtype, gap):
    student = torch.tensor([[gap, 0.0, 0.0], [0.0, gap, 0.0]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[0.0, gap, 0.0], [0.0, 0.0, gap]], dtype=dtype)
    labels = torch.tensor([0, 0])
    value = decoupled_divergence(student, teacher, labels, 1.0, 1.0, 1.0)
    # row 0: label's part -log(2 e^-gap) = gap - log 2, the others' log 2; row 1: 0 and gap
    assert value.tolist() == pytest.approx([gap, gap], rel=1e-5)
    value.sum().backward()
    assert student.grad.isfinite().all()


def test_classes_that_both_mask_are_left_out():
    masked = [torch.cat([x, torch.full((6, 2), -math.inf, dtype=x.dtype)], 1) for x in (STUDENT, TEACHER)]
    masked[0].requires_grad_()
    value = decoupled_divergence(*masked, LABELS)
    torch.testing.assert_close(value, decoupled_divergence(STUDENT, TEACHER, LABELS))
    value.sum().backward()
    assert masked[0].grad.isfinite().all()


def test_two_classes_are_refused():
    with pytest.raises(InputError, match="DKD: the model scores 2 classes"):
        DKD()({"logits": STUDENT[:, :2]}, {"logits": TEACHER[:, :2]}, {"label": LABELS.clamp(max=1)})


def test_the_other_classes_part_of_two_is_exactly_0():
    assert (decoupled_divergence(STUDENT[:, :2], TEACHER[:, :2], LABELS.clamp(max=1), 0.0, 8.0) == 0).all()


@pytest.mark.parametrize(("setting", "value"), [("alpha", -1), ("beta", math.inf), ("temperature", 0)])
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(InputError, match=f"DKD: {setting} is {value}"):
        DKD(**{setting: value})
