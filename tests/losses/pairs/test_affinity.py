import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import DistillClipLoss

from kdmm.losses import Affinity, affinity_divergence
from tests.losses.data import flags, rotation, scalar, unit
from tests.oracles import losses as oracle

B = 6
STUDENT = unit(B, 5, 1), unit(B, 5, 2)
TEACHER = unit(B, 7, 3), unit(B, 7, 4)
ALL = flags("111111")
MASKS = {
    "all": (ALL, ALL),
    "unpaired": (flags("110110"), flags("011101")),
    "disjoint": (flags("111000"), flags("000111")),
    "one text": (ALL, flags("000010")),
    "no text": (ALL, flags("000000")),
    "nothing": (flags("000000"), flags("000000")),
}


def loss(student=STUDENT, teacher=TEACHER, student_scale=6.0, teacher_scale=9.0, valid=(ALL, ALL)):
    return affinity_divergence(*student, *teacher, student_scale, teacher_scale, *valid)


@pytest.mark.parametrize("mask", MASKS)
def test_equals_the_loop(mask):
    expected = oracle.affinity_divergence(STUDENT, TEACHER, 6.0, 9.0, MASKS[mask])
    assert loss(valid=MASKS[mask]).item() == pytest.approx(expected, rel=1e-10)


def test_is_open_clips_soft_cross_entropy_less_the_teachers_entropy_with_the_same_gradient():
    ours = [x.clone().requires_grad_() for x in (*STUDENT, scalar(6.0))]
    theirs = [x.clone().requires_grad_() for x in (*STUDENT, scalar(6.0))]
    value = loss(ours[:2], TEACHER, ours[2])
    _, distill = DistillClipLoss()(*theirs, *TEACHER, scalar(9.0))
    logits = 9.0 * TEACHER[0] @ TEACHER[1].T
    entropy = torch.stack([-(z.softmax(1) * z.log_softmax(1)).sum(1).mean() for z in (logits, logits.T)]).mean()
    torch.testing.assert_close(value, distill - entropy, rtol=1e-9, atol=0)
    value.backward()
    distill.backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_is_the_mean_over_rows_of_kl_div_in_nats():
    student, teacher = 6.0 * STUDENT[0] @ STUDENT[1].T, 9.0 * TEACHER[0] @ TEACHER[1].T
    expected = sum(  # `batchmean` divides by rows; `mean` would divide by rows and columns
        F.kl_div(s.log_softmax(1), t.log_softmax(1), log_target=True, reduction="batchmean") / 2
        for s, t in ((student, teacher), (student.T, teacher.T))
    )
    torch.testing.assert_close(loss(), expected, rtol=1e-9, atol=0)


def test_text_side_target_is_a_softmax_of_the_transposed_logits():
    student, teacher = 6.0 * STUDENT[0] @ STUDENT[1].T, 9.0 * TEACHER[0] @ TEACHER[1].T
    wrong = (
        F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
        + F.kl_div(student.T.log_softmax(1), teacher.softmax(1).T, reduction="batchmean")  # rows do not sum to 1
    ) / 2
    assert abs(loss() - wrong) > 0.01


def test_uniform_student_against_one_hot_teacher_is_log_b():
    same = torch.eye(B, dtype=torch.float64)
    assert loss(teacher=(same, same), student_scale=0.0, teacher_scale=1e3).item() == pytest.approx(math.log(B))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("mask", ["all", "unpaired"])
def test_is_exactly_zero_when_the_student_agrees(dtype, mask):
    same = tuple(x.to(dtype) for x in TEACHER)
    assert loss(same, same, 9.0, valid=MASKS[mask]) == 0


def test_gradient_is_zero_when_the_student_agrees():
    student = [x.clone().requires_grad_() for x in TEACHER]
    scale = scalar(9.0, True)
    loss(student, TEACHER, scale).backward()
    for x in (*student, scale):
        assert x.grad.abs().max() < 1e-12


def test_is_never_negative_and_grows_with_disagreement():
    other = unit(B, 7, 5)
    values = [
        loss((F.normalize(TEACHER[0] + step * other, dim=1), TEACHER[1]), student_scale=9.0) for step in (0, 1, 3)
    ]
    assert values[0].item() == pytest.approx(0, abs=1e-12)
    assert 0.001 < values[1] < values[2]


@pytest.mark.parametrize("mask", ["all", "unpaired"])
def test_swapping_the_modalities_changes_nothing(mask):
    valid = MASKS[mask]
    torch.testing.assert_close(
        loss(STUDENT[::-1], TEACHER[::-1], valid=valid[::-1]), loss(valid=valid), rtol=1e-12, atol=0
    )


def test_order_of_samples_changes_nothing():
    order, valid = torch.tensor([3, 0, 5, 1, 4, 2]), MASKS["unpaired"]
    shuffled = loss([x[order] for x in STUDENT], [x[order] for x in TEACHER], valid=[x[order] for x in valid])
    torch.testing.assert_close(shuffled, loss(valid=valid), rtol=1e-12, atol=0)


def test_rotating_the_student_changes_nothing():
    torch.testing.assert_close(loss([x @ rotation(5, 3) for x in STUDENT]), loss(), rtol=1e-12, atol=0)


def test_adding_a_constant_to_all_logits_changes_nothing():
    def longer(pair, a):  # one more coordinate adds a * a to every inner product
        return [torch.cat([x, torch.full((B, 1), a, dtype=torch.float64)], 1) for x in pair]

    torch.testing.assert_close(loss(longer(STUDENT, 0.7), longer(TEACHER, 1.3)), loss(), rtol=1e-9, atol=0)


def test_unpaired_images_and_texts_count():
    assert loss(valid=MASKS["disjoint"]) > 0


@pytest.mark.parametrize("mask", ["no text", "nothing"])
def test_without_columns_it_is_zero_with_zero_gradient(mask):
    student, scale = [x.clone().requires_grad_() for x in STUDENT], scalar(6.0, True)
    value = loss(student, TEACHER, scale, valid=MASKS[mask])
    value.backward()
    assert value == 0
    for x in (*student, scale):
        assert (x.grad == 0).all()


@pytest.mark.parametrize("mask", ["all", "unpaired"])
def test_gradients_are_numerically_right(mask):
    inputs = (STUDENT[0].clone().requires_grad_(), STUDENT[1].clone().requires_grad_(), scalar(3.0, True))
    assert torch.autograd.gradcheck(lambda a, b, s: loss((a, b), TEACHER, s, valid=MASKS[mask]), inputs)


def test_a_teacher_close_to_one_hot_stays_finite_and_positive():
    student = [x.float().requires_grad_() for x in STUDENT]
    value = loss(student, [x.float() for x in TEACHER], student_scale=100.0, teacher_scale=1e5)
    value.backward()
    assert value.isfinite()
    assert value > 0
    assert student[0].grad.isfinite().all()


def outputs(pair, scale, **extra):
    return {"image": pair[0], "text": pair[1], "logit_scale": scalar(scale), **extra}


def test_temperatures_default_to_the_models_own_scales():
    value = Affinity(["image", "text"])(outputs(STUDENT, 6.0), outputs(TEACHER, 9.0), {})
    assert value == loss()


def test_temperatures_can_be_set_and_divide():
    term = Affinity(["image", "text"], teacher_temperature=0.5, student_temperature=0.25)
    value = term({"image": STUDENT[0], "text": STUDENT[1]}, {"image": TEACHER[0], "text": TEACHER[1]}, {})
    assert value == loss(student_scale=4.0, teacher_scale=2.0)


def test_student_and_teacher_flags_both_count_and_pairs_can_be_asked_for():
    student = outputs(STUDENT, 6.0, **{"present/image": flags("110111"), "present/text": flags("011111")})
    teacher = outputs(TEACHER, 9.0, **{"present/image": flags("111110"), "present/text": flags("111101")})
    images, texts = flags("110110"), flags("011101")
    assert Affinity(["image", "text"])(student, teacher, {}) == loss(valid=(images, texts))
    assert Affinity(["image", "text"], over="pairs")(student, teacher, {}) == loss(valid=(images & texts,) * 2)


def test_a_bias_of_either_model_changes_nothing():
    biased = outputs(STUDENT, 6.0, logit_bias=scalar(-10.0)), outputs(TEACHER, 9.0, logit_bias=scalar(-12.0))
    assert Affinity(["image", "text"])(*biased, {}) == loss()
