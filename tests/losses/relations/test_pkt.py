import math

import pytest
import torch

from kdmm.losses import pkt_divergence
from tests.losses.data import unit


def test_orthogonal_vectors_have_uniform_neighbours_and_the_closed_form():
    student = torch.eye(4, dtype=torch.float64)
    teacher = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 0, 2, 3])]  # the first two are one
    # kernels 1, 1/2, 1/2 to the others, so p = 1/2, 1/4, 1/4 against 1/3 each
    expected = 0.5 * math.log(3 / 2) + 2 * 0.25 * math.log(3 / 4)
    assert pkt_divergence(student, teacher).tolist() == pytest.approx([expected, expected, 0, 0], abs=1e-12)


def test_opposite_vectors_are_finite():
    line = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.5, 0.5], [-2.0, 0.0]])
    for student, teacher in ((line, unit(4, 3, 1, torch.float32)), (unit(4, 2, 1, torch.float32), line)):
        student = student.clone().requires_grad_()
        value = pkt_divergence(student, teacher)
        value.sum().backward()
        assert value.isfinite().all()
        assert student.grad.isfinite().all()


def test_a_vector_of_zeros_is_as_near_to_all():
    student = torch.cat([torch.zeros(1, 5), unit(4, 5, 1, torch.float32)]).requires_grad_()
    value = pkt_divergence(student, unit(5, 5, 2, torch.float32))
    value.sum().backward()
    assert value.isfinite().all()
    assert student.grad.abs().max() < 10


@pytest.mark.parametrize("rows", [0, 1])
def test_a_sample_alone_is_0_with_a_gradient_of_0(rows):
    student = unit(rows, 5, 1).requires_grad_()
    value = pkt_divergence(student, unit(rows, 4, 2)).sum()
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


def test_it_is_exactly_0_at_equality_and_never_negative():
    x, y = unit(6, 5, 1, torch.float32), unit(6, 5, 2, torch.float32)
    assert (pkt_divergence(x, x) == 0).all()
    assert (pkt_divergence(x, y) > 0).all()
