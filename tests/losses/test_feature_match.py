import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import FeatureMatch, feature_distance
from tests.losses.data import flags, rotation, unit
from tests.oracles import losses as oracle

B, D = 6, 5
STUDENT, TEACHER = unit(B, D, 1), unit(B, D, 2)
MASKS = {"all": flags("111111"), "some": flags("110101"), "one": flags("000100"), "none": flags("000000")}
both_distances = pytest.mark.parametrize("distance", ["mse", "cosine"])


def loss(distance, student=STUDENT, teacher=TEACHER, valid=MASKS["all"]):
    return feature_distance(student, teacher, valid, distance)


@both_distances
@pytest.mark.parametrize("mask", MASKS)
def test_equals_the_loop(distance, mask):
    expected = oracle.feature_distance(STUDENT, TEACHER, MASKS[mask], distance)
    assert loss(distance, valid=MASKS[mask]).item() == pytest.approx(expected, rel=1e-10)


def test_mse_is_a_mean_over_elements_of_unit_vectors_as_in_clip_kd():
    expected = F.mse_loss(F.normalize(3 * STUDENT, dim=1), F.normalize(TEACHER, dim=1))
    torch.testing.assert_close(loss("mse", 3 * STUDENT), expected)


def test_cosine_is_torchs_and_mse_is_two_over_d_of_it():
    torch.testing.assert_close(loss("cosine"), (1 - F.cosine_similarity(STUDENT, TEACHER)).mean())
    torch.testing.assert_close(loss("mse"), 2 / D * loss("cosine"))


@pytest.mark.parametrize(("distance", "orthogonal", "opposite"), [("mse", 2 / D, 4 / D), ("cosine", 1, 2)])
def test_closed_forms(distance, orthogonal, opposite):
    x = torch.eye(D, dtype=torch.float64)
    all_rows = torch.ones(D, dtype=torch.bool)
    assert loss(distance, x, x.roll(1, 0), all_rows).item() == pytest.approx(orthogonal)
    assert loss(distance, x, -x, all_rows).item() == pytest.approx(opposite)


@both_distances
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_exactly_zero_when_the_student_agrees(distance, dtype):
    same = TEACHER.to(dtype)
    assert loss(distance, same, same) == 0


@both_distances
def test_symmetries(distance):
    order, turn = torch.tensor([3, 0, 5, 1, 4, 2]), rotation(D, 3)
    torch.testing.assert_close(loss(distance, TEACHER, STUDENT), loss(distance))
    torch.testing.assert_close(loss(distance, STUDENT[order], TEACHER[order]), loss(distance))
    torch.testing.assert_close(loss(distance, STUDENT @ turn, TEACHER @ turn), loss(distance))
    torch.testing.assert_close(loss(distance, 2 * STUDENT, 0.1 * TEACHER), loss(distance))


@both_distances
def test_absent_rows_may_hold_anything(distance):
    valid = MASKS["some"]
    for junk in (0.0, torch.inf, torch.nan):
        student = torch.where(valid[:, None], STUDENT, junk).requires_grad_()
        value = loss(distance, student, torch.where(valid[:, None], TEACHER, junk), valid)
        value.backward()
        torch.testing.assert_close(value, loss(distance, STUDENT[valid], TEACHER[valid], valid[valid]))
        assert student.grad.isfinite().all()
        assert (student.grad[~valid] == 0).all()


@both_distances
def test_an_empty_mask_is_zero_with_zero_gradient(distance):
    student = STUDENT.clone().requires_grad_()
    value = loss(distance, student, valid=MASKS["none"])
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


@both_distances
@pytest.mark.parametrize("mask", ["all", "some"])
def test_gradients_are_numerically_right(distance, mask):
    student = STUDENT.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(distance, x, valid=MASKS[mask]), (student,))


@both_distances
def test_small_distances_are_precise_in_float32(distance):
    close = F.normalize(TEACHER + 1e-4 * STUDENT, dim=1)  # 1 - cos is about 5e-9: lost if subtracted from 1 in float32
    expected = loss(distance, close)
    torch.testing.assert_close(loss(distance, close.float(), TEACHER.float()).double(), expected, rtol=1e-2, atol=0)


@both_distances
def test_half_precision_of_large_activations_does_not_overflow(distance):
    large = (1000 * STUDENT).half(), (1000 * TEACHER).half()
    torch.testing.assert_close(
        loss(distance, *large).double(), loss(distance, *(x.double() for x in large)), rtol=1e-5, atol=0
    )


def test_term_matches_across_modalities_where_both_are_present():
    student = {"audio": STUDENT, "present/audio": flags("110111")}
    teacher = {"image": TEACHER, "present/image": flags("111101")}
    assert FeatureMatch("audio", "image")(student, teacher, {}) == loss("mse", valid=MASKS["some"])


def test_term_projects_where_widths_differ():
    term = FeatureMatch("image", "image", "cosine", student_width=D, teacher_width=8).double()
    teacher = unit(B, 8, 3)
    value = term({"image": STUDENT}, {"image": teacher}, {})
    assert value == loss("cosine", F.linear(STUDENT, term.projection.map.weight, term.projection.map.bias), teacher)
    value.backward()
    assert term.projection.map.weight.grad.abs().sum() > 0


def test_term_without_projection_has_no_parameters():
    assert not list(FeatureMatch("image", "image").parameters())
    assert not list(FeatureMatch("image", "image", student_width=D, teacher_width=D).parameters())


def test_different_widths_without_settings_are_explained():
    with pytest.raises(InputError, match=r"student_width: 5 and teacher_width: 8"):
        FeatureMatch("image", "image")({"image": STUDENT}, {"image": unit(B, 8, 3)}, {})
