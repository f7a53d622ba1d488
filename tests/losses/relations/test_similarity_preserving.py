import pytest
import torch

from kdmm.losses import similarity_difference
from tests.losses.data import unit


def test_two_clusters_against_none_have_the_closed_form():
    student = torch.eye(4, dtype=torch.float64)  # rows of the Gram matrix are unit vectors
    teacher = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 0, 2, 2])]  # 1/sqrt(2) at itself and its twin
    expected = ((1 - 0.5**0.5) ** 2 + 0.5) / 4
    assert similarity_difference(student, teacher).tolist() == pytest.approx([expected] * 4)


def test_it_is_the_papers_frobenius_norm():
    student, teacher = unit(5, 4, 1), unit(5, 3, 2)
    g, h = (torch.nn.functional.normalize(x @ x.T, dim=1) for x in (student, teacher))
    torch.testing.assert_close(similarity_difference(student, teacher).mean(), (g - h).norm() ** 2 / 5**2)


def test_a_dead_student_has_finite_gradients():
    student = torch.zeros(4, 3, requires_grad=True)
    value = similarity_difference(student, unit(4, 3, 2, torch.float32))
    value.sum().backward()
    assert value.tolist() == pytest.approx([1 / 4] * 4)
    assert student.grad.isfinite().all()


def test_large_half_precision_features_do_not_overflow():
    student, teacher = (1000 * unit(6, 4096, seed).half() for seed in (1, 2))
    torch.testing.assert_close(
        similarity_difference(student, teacher).double(),
        similarity_difference(student.double(), teacher.double()),
        rtol=1e-4,
        atol=1e-8,
    )
