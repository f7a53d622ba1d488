import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.losses import SigmoidDistillation, bernoulli_divergence, sigmoid_contrast, sigmoid_divergence
from tests.losses.data import flags, scalar, unit
from tests.oracles import losses as oracle

B = 6
STUDENT, TEACHER = (unit(B, 5, 1), unit(B, 5, 2)), (unit(B, 7, 3), unit(B, 7, 4))
PAIR = ["image", "text"]


def outputs(pair, scale, bias=None, **extra):
    own = {} if bias is None else {"logit_bias": scalar(bias)}
    return {"image": pair[0], "text": pair[1], "logit_scale": scalar(scale), **own, **extra}


def test_it_is_the_binary_cross_entropy_less_the_teachers_entropy_with_the_same_gradient():
    z, w = (9.0 * STUDENT[0] @ STUDENT[1].T - 3).requires_grad_(), 20.0 * TEACHER[0] @ TEACHER[1].T - 5
    p = w.sigmoid()
    value = bernoulli_divergence(z, w)
    expected = F.binary_cross_entropy_with_logits(z, p, reduction="none") - F.binary_cross_entropy(
        p, p, reduction="none"
    )
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    value.sum().backward()
    torch.testing.assert_close(z.grad, z.detach().sigmoid() - p, rtol=1e-9, atol=1e-12)


def test_a_signed_logit_is_another_loss():
    """-log sigmoid((2p - 1) z) has its least value at infinity for any p above 1/2, not at z = logit(p)."""
    z, p = torch.tensor(math.log(3.0), dtype=torch.float64), 0.75
    assert bernoulli_divergence(z, z) == 0
    assert -F.logsigmoid((2 * p - 1) * (z + 5)) < -F.logsigmoid((2 * p - 1) * z)
    assert bernoulli_divergence(z + 5, z) > 0.5


def test_of_a_certain_teacher_it_is_siglips_loss():
    same = torch.eye(B, dtype=torch.float64)
    value = sigmoid_divergence(*STUDENT, same, same, 9.0, 2000.0, -3.0, -1000.0).mean()
    torch.testing.assert_close(value, sigmoid_contrast(*STUDENT, 9.0, -3.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [0.0, 1e-3])
def test_large_logits_lose_no_digits(dtype, gap):
    teacher = torch.tensor([-90.0, -30.0, -1.0, 0.0, 1.0, 30.0, 90.0], dtype=dtype)
    student = teacher + gap
    found = bernoulli_divergence(student, teacher)
    assert found.isfinite().all()
    expected = teacher.double().sigmoid() * (-teacher.double()).sigmoid() * gap**2 / 2  # to second order
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-7 if dtype is torch.float32 else 1e-16)


def test_a_softmax_trained_teacher_may_have_any_constant_in_its_logits():
    """Its loss does not depend on one, so neither may its targets: one more coordinate adds 0.49 to each cosine."""

    def longer(pair):
        return [torch.cat([x, torch.full((B, 1), 0.7, dtype=torch.float64)], 1) for x in pair]

    plain = sigmoid_divergence(*STUDENT, *TEACHER, 9.0, 20.0, -3.0)
    torch.testing.assert_close(sigmoid_divergence(*STUDENT, *longer(TEACHER), 9.0, 20.0, -3.0), plain)
    by_bias = sigmoid_divergence(*STUDENT, *TEACHER, 9.0, 20.0, None, -4.0)
    torch.testing.assert_close(sigmoid_divergence(*longer(STUDENT), *TEACHER, 9.0, 20.0, None, -4.0), by_bias)


def test_a_softmax_trained_teachers_optimum_makes_the_targets_of_a_sigmoid_trained_students():
    """Both losses are least at the log-likelihood ratio plus a constant: here of 4 classes, 3 samples each.

    The teacher's logits are that of a class plus any constant, 5. Of the pairs of one class a third are together, so
    the sigmoid's optimum is a chance of 1/3 there and none elsewhere.
    """
    classes = torch.arange(4).repeat_interleave(3)
    alike, one = classes[:, None] == classes, torch.eye(12)
    teacher = torch.where(alike, math.log(4), -30.0) + 5
    optimum = torch.where(alike, math.log(1 / 2), -30.0)
    value = sigmoid_divergence(optimum, one, teacher, one, 1.0, 1.0, student_bias=0.0)
    assert value.abs().max() < 1e-5


def test_a_fitted_student_has_the_bias_of_least_divergence():
    fitted = sigmoid_divergence(*STUDENT, *TEACHER, 9.0, 20.0, None, -4.0).mean()
    others = [
        sigmoid_divergence(*STUDENT, *TEACHER, 9.0, 20.0, bias, -4.0).mean() for bias in torch.arange(-8, 0, 0.01)
    ]
    assert fitted <= min(others) + 1e-12
    assert fitted > min(others) - 1e-4


def test_duplicate_captions_raise_the_chances_of_a_softmax_trained_teacher():
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    z, w = (oracle.logits(*x, s) for x, s in ((STUDENT, 9.0), (TEACHER, 20.0)))
    z = [[x - 3.0 for x in row] for row in z]
    for given, positives in ((labels, 8.0), (None, 6.0)):
        value = sigmoid_divergence(*STUDENT, *TEACHER, 9.0, 20.0, -3.0, None, given).mean()
        assert value.item() == pytest.approx(oracle.sigmoid_divergence(z, oracle.fitted(w, positives)), rel=1e-8)
    both = outputs(STUDENT, 9.0, -3.0), outputs(TEACHER, 20.0)
    positive = SigmoidDistillation(PAIR, teacher_bias="fitted")(*both, {"caption_id": labels})
    negative = SigmoidDistillation(PAIR, teacher_bias="fitted", duplicates="negative")(*both, {"caption_id": labels})
    assert positive != negative


def test_temperatures_can_be_set_and_divide():
    term = SigmoidDistillation(PAIR, teacher_bias="fitted", teacher_temperature=0.1, student_temperature=0.2)
    value = term(outputs(STUDENT, 9.0, -3.0), outputs(TEACHER, 20.0), {})
    torch.testing.assert_close(value, sigmoid_divergence(*STUDENT, *TEACHER, 5.0, 10.0, -3.0).mean())


def test_pairs_that_either_model_lacks_do_not_count():
    student = outputs(STUDENT, 9.0, -3.0, **{"present/image": flags("110111")})
    teacher = outputs(TEACHER, 20.0, -4.0, **{"present/text": flags("111101")})
    rows = [x[flags("110101")] for x in (*STUDENT, *TEACHER)]
    value = SigmoidDistillation(PAIR)(student, teacher, {})
    torch.testing.assert_close(value, sigmoid_divergence(*rows, 9.0, 20.0, -3.0, -4.0).mean())


def test_one_pair_alone_is_finite_whatever_is_fitted():
    student = [x[:1].clone().requires_grad_() for x in STUDENT]
    for biases in ((-3.0, None), (None, None), (None, -4.0)):
        value = sigmoid_divergence(*student, *(x[:1] for x in TEACHER), 9.0, 20.0, *biases).sum()
        value.backward()
        assert value.isfinite()
        assert student[0].grad.isfinite().all()
