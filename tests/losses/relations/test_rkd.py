import importlib

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import RKD, rkd_angle, rkd_distance
from tests.losses.data import unit

module = importlib.import_module("kdmm.losses.relations.rkd")
B, D = 8, 5
STUDENT, TEACHER = unit(B, D, 1), unit(B, 6, 2)
both_parts = pytest.mark.parametrize("part", [rkd_distance, rkd_angle])


def test_distances_of_a_right_triangle_have_their_closed_form():
    triangle = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])  # sides 3, 4, 5 with the mean 4
    regular = torch.eye(3)
    side_3, side_4, side_5 = (1 - 3 / 4) ** 2 / 2, 0.0, (5 / 4 - 1) ** 2 / 2
    found = rkd_distance(triangle, regular)
    expected = [(side_3 + side_4) / 2, (side_3 + side_5) / 2, (side_4 + side_5) / 2]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_angles_of_a_right_triangle_have_their_closed_form():
    triangle = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    found = rkd_angle(triangle, torch.eye(3))  # against three times 60 degrees
    assert found.tolist() == pytest.approx([(0 - 0.5) ** 2 / 2, (0.6 - 0.5) ** 2 / 2, (0.8 - 0.5) ** 2 / 2], abs=1e-6)


@both_parts
@pytest.mark.parametrize("whose", ["student", "teacher", "both", "all"])
def test_duplicates_have_finite_gradients(part, whose):
    """sqrt at 0 has no derivative; a direction between equal vectors has none either."""
    student, teacher = STUDENT.float(), TEACHER.float()
    if whose in ("student", "both"):
        student = student[torch.tensor([0, 1, 0, 3, 4, 0, 6, 1])]
    if whose in ("teacher", "both"):
        teacher = teacher[torch.tensor([0, 1, 0, 3, 4, 0, 6, 1])]
    if whose == "all":
        student, teacher = torch.ones(B, D), torch.ones(B, 6)
    student = student.clone().requires_grad_()
    value = part(student, teacher).mean()
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 10  # and not merely finite
    if whose == "all":
        assert value == 0


def test_a_duplicate_has_no_direction():
    corner = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    right = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    # The teacher's cosines are 0, sqrt(1/2) and sqrt(1/2). At the first two one of the student's sides has no length,
    # so its cosine is 0; at the third both sides are one, so it is 1.
    expected = [0, 0.5 / 2, (1 - 0.5**0.5) ** 2 / 2]
    assert rkd_angle(corner, right).tolist() == pytest.approx(expected, abs=1e-12)


@both_parts
def test_nearly_equal_vectors_have_moderate_gradients_in_float32(part):
    """Two passes of one text differ by rounding; the gradient of a direction grows with 1 / distance."""
    student = torch.cat([STUDENT[:1] + 1e-6 * STUDENT[1:2], STUDENT[:1], STUDENT[2:]]).float().requires_grad_()
    part(student, TEACHER.float()).mean().backward()
    assert student.grad.abs().max() < 10


@pytest.mark.parametrize("held", [1, 2 * B**2, 3 * B**2, 2**24])
def test_the_number_of_angles_held_changes_nothing(monkeypatch, held):
    results = []
    for chunk in (held, 2**24):
        monkeypatch.setattr(module, "CHUNK", chunk)
        student = STUDENT.clone().requires_grad_()
        values = rkd_angle(student, TEACHER)
        values.mean().backward()
        results.append((values.detach(), student.grad))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-15)


def test_angles_are_not_kept_for_the_backward_pass():
    n, sizes = 64, []

    def note(x):
        sizes.append(x.numel())
        return x

    student = unit(n, D, 3, torch.float32).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        rkd_angle(student, unit(n, D, 4, torch.float32))
    assert max(sizes) == n * n


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_too_few_samples_are_0_with_gradients_of_0(rows):
    student = STUDENT[:rows].clone().requires_grad_()
    value = rkd_angle(student, TEACHER[:rows]).sum() + (rkd_distance(student, TEACHER[:rows]).sum() if rows < 2 else 0)
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


def test_large_half_precision_features_do_not_overflow():
    student, teacher = (60 * unit(B, 512, seed).half() * 20 for seed in (1, 2))
    for part in (rkd_distance, rkd_angle):
        torch.testing.assert_close(
            part(student, teacher).double(), part(student.double(), teacher.double()), rtol=1e-4, atol=1e-7
        )


def test_a_far_origin_costs_no_digits():
    """Products of vectors far from the origin would leave distances 1e-2 of error in float32."""
    far = STUDENT + 300
    torch.testing.assert_close(
        rkd_angle(far.float(), TEACHER.float()).double(),
        rkd_angle(far.float().double(), TEACHER),
        rtol=1e-4,
        atol=1e-6,
    )


def test_it_needs_a_part():
    with pytest.raises(InputError, match="RKD: distance and angle are both 0"):
        RKD("image", "image", 0, 0)
    with pytest.raises(InputError, match="RKD: angle is -1"):
        RKD("image", "image", angle=-1)
