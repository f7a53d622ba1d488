import pytest
import torch

from kdmm.losses import DIST, correlation_distance, relation_distance


def scores(seed, rows=6, classes=5):
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = scores(1), scores(2)


def test_the_distance_is_one_minus_the_correlation_coefficient():
    expected = [1 - torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(STUDENT, TEACHER, strict=True)]
    torch.testing.assert_close(correlation_distance(STUDENT, TEACHER), torch.stack(expected))


def test_it_does_not_see_scale_or_offset_and_opposites_are_at_2():
    torch.testing.assert_close(
        correlation_distance(3 * STUDENT + 1, TEACHER / 9 - 4), correlation_distance(STUDENT, TEACHER)
    )
    assert correlation_distance(STUDENT, -STUDENT).tolist() == pytest.approx([2.0] * 6)


def test_small_distances_are_precise_in_float32():
    near = STUDENT + 1e-3 * TEACHER
    found = correlation_distance(near.float(), STUDENT.float()).double()
    torch.testing.assert_close(found, correlation_distance(near, STUDENT), rtol=1e-2, atol=0)


def test_constant_rows_have_no_direction_and_finite_gradients():
    constant = torch.ones(6, 5, dtype=torch.float64, requires_grad=True)
    assert (correlation_distance(constant, constant) == 0).all()
    value = correlation_distance(constant, STUDENT)
    assert value.tolist() == pytest.approx([0.5] * 6)
    value.sum().backward()
    assert constant.grad.isfinite().all()


def test_of_one_sample_there_is_no_relation_between_samples():
    between_classes = relation_distance(STUDENT[:1], TEACHER[:1], 1.0, 0.0)
    assert relation_distance(STUDENT[:1], TEACHER[:1], 1.0, 5.0) == between_classes > 0


def test_the_two_parts_and_the_temperature():
    q, p = (STUDENT / 4).softmax(1), (TEACHER / 4).softmax(1)
    expected = 16 * (2 * correlation_distance(q, p).mean() + 3 * correlation_distance(q.T, p.T).mean())
    found = DIST(2, 3, 4)({"logits": STUDENT}, {"logits": TEACHER}, {})
    torch.testing.assert_close(found, expected)
