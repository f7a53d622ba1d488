import pytest
import torch

from kdmm.losses import cka_distance
from tests.losses.data import rotation, unit


def test_unrelated_directions_are_at_the_distance_1():
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]], dtype=torch.float64)
    y = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.float64)
    assert cka_distance(x, y).item() == pytest.approx(1)
    # two directions of equal variance, one of which the student has: <K, L> = 16, |K| = 4, |L| = 4 sqrt(2)
    assert cka_distance(x, torch.cat([x, y], 1)).item() == pytest.approx(1 - 0.5**0.5)


def test_it_is_invariant_to_rotations_and_scale_but_not_to_other_maps():
    x = unit(9, 4, 1)
    assert cka_distance(3 * x @ rotation(4, 2) + 5, x).item() == pytest.approx(0, abs=1e-12)
    assert cka_distance(x * torch.tensor([1.0, 1.0, 1.0, 9.0]), x) > 0.05


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_samples_are_0_with_a_gradient_of_0(rows):
    student = unit(rows, 3, 1).requires_grad_()
    value = cka_distance(student, unit(rows, 4, 2))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


@pytest.mark.parametrize("constant", ["student", "teacher"])
def test_a_collapsed_side_is_at_the_distance_1_with_finite_gradients(constant):
    sides = {"student": unit(6, 3, 1), "teacher": unit(6, 3, 2), constant: torch.ones(6, 3, dtype=torch.float64)}
    student = sides["student"].clone().requires_grad_()
    value = cka_distance(student, sides["teacher"])
    value.backward()
    assert value == 1
    assert student.grad.isfinite().all()


def test_large_features_do_not_overflow():
    student, teacher = (60000 * unit(16, 4096, seed).half() for seed in (1, 2))
    torch.testing.assert_close(
        cka_distance(student, teacher).double(),
        cka_distance(student.double(), teacher.double()),
        rtol=1e-4,
        atol=1e-7,
    )
