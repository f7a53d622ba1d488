import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.losses import softmax_divergence

INF = math.inf
KINDS = ["forward", "reverse", "jensen_shannon"]
all_kinds = pytest.mark.parametrize("kind", KINDS)


def scores(rows=6, classes=5, seed=1, scale=2.0):
    x = torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scale * x


STUDENT, TEACHER = scores(seed=1), scores(seed=2)


def test_the_mean_is_batchmean_of_kl_div_and_mean_is_smaller_by_the_number_of_classes():
    log_q, log_p = STUDENT.log_softmax(1), TEACHER.log_softmax(1)
    value = softmax_divergence(STUDENT, TEACHER).mean()
    torch.testing.assert_close(value, F.kl_div(log_q, log_p, reduction="batchmean", log_target=True))
    torch.testing.assert_close(value, 5 * F.kl_div(log_q, log_p, log_target=True, reduction="none").mean())


def test_reverse_is_forward_with_exchanged_roles():
    torch.testing.assert_close(
        softmax_divergence(STUDENT, TEACHER, "reverse", 3.0), softmax_divergence(TEACHER, STUDENT, "forward", 3.0)
    )


def test_two_classes_have_their_closed_form():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])  # 1/2 and 3/4
    forward = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    reverse = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    m = 0.625
    js = (0.75 * math.log(0.75 / m) + 0.25 * math.log(0.25 / 0.375) + 0.5 * math.log(0.5 / m)) / 2
    js += 0.5 * math.log(0.5 / 0.375) / 2
    for kind, expected in zip(KINDS, (forward, reverse, js), strict=True):
        assert softmax_divergence(student, teacher, kind).item() == pytest.approx(expected, rel=1e-6)


@all_kinds
def test_t_squared_keeps_the_gradient_where_it_would_vanish(kind):
    norms = []
    for temperature in (4.0, 20.0, 100.0):
        student = STUDENT.clone().requires_grad_()
        softmax_divergence(student, TEACHER, kind, temperature).mean().backward()
        norms.append(student.grad.norm().item())
    assert norms[2] == pytest.approx(norms[1], rel=0.1)
    assert norms[1] == pytest.approx(norms[0], rel=0.6)  # without the factor it would be 1/25


@all_kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_is_exactly_zero_where_the_student_agrees(kind, dtype):
    same = TEACHER.to(dtype)
    assert (softmax_divergence(same, same, kind, 4.0) == 0).all()


@all_kinds
def test_small_divergences_over_many_classes_survive_half_precision(kind):
    teacher = scores(4, 50_000, 3, 1.0).bfloat16()
    student = (teacher.double() + scores(4, 50_000, 4, 0.05)).bfloat16()
    expected = softmax_divergence(student.double(), teacher.double(), kind)
    assert 1e-4 < expected.mean() < 1e-2
    torch.testing.assert_close(softmax_divergence(student, teacher, kind).double(), expected, rtol=1e-2, atol=0)


def test_jensen_shannon_is_symmetric_and_at_most_log_2():
    forth, back = (softmax_divergence(*pair, "jensen_shannon") for pair in ((STUDENT, TEACHER), (TEACHER, STUDENT)))
    torch.testing.assert_close(forth, back)
    apart = softmax_divergence(torch.tensor([[500.0, 0.0]]), torch.tensor([[0.0, 500.0]]), "jensen_shannon")
    assert apart.item() == pytest.approx(math.log(2))


@all_kinds
def test_a_class_that_both_mask_is_left_out_with_finite_gradients(kind):
    student, teacher = STUDENT.clone(), TEACHER.clone()
    student[:, 1] = teacher[:, 1] = -INF
    student.requires_grad_()
    value = softmax_divergence(student, teacher, kind, 2.0)
    rest = [0, 2, 3, 4]
    torch.testing.assert_close(value, softmax_divergence(STUDENT[:, rest], TEACHER[:, rest], kind, 2.0))
    value.sum().backward()
    assert student.grad.isfinite().all()
    assert (student.grad[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("masks", "kind", "infinite"),
    [
        ("teacher", "forward", False),
        ("teacher", "reverse", True),
        ("teacher", "jensen_shannon", False),
        ("student", "forward", True),
        ("student", "reverse", False),
        ("student", "jensen_shannon", False),
    ],
)
def test_a_class_that_one_masks_is_what_the_definition_says(masks, kind, infinite):
    student, teacher = STUDENT.clone(), TEACHER.clone()
    (student if masks == "student" else teacher)[:, 1] = -INF
    student.requires_grad_()
    value = softmax_divergence(student, teacher, kind)
    if infinite:
        assert (value == INF).all()
        return
    near = [x.detach().clamp(min=-700) for x in (student, teacher)]  # probabilities of 1e-300
    torch.testing.assert_close(value, softmax_divergence(*near, kind))
    value.sum().backward()
    assert student.grad.isfinite().all()


@all_kinds
def test_gaps_at_which_probabilities_vanish_in_float32_are_right(kind):
    student, teacher = torch.tensor([[0.0, 300.0]]), torch.tensor([[300.0, 0.0]])
    student.requires_grad_()
    value = softmax_divergence(student, teacher, kind)
    assert value.item() == pytest.approx(math.log(2) if kind == "jensen_shannon" else 300)
    value.sum().backward()
    assert student.grad.isfinite().all()
