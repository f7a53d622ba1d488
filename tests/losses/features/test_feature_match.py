import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import FeatureMatch, feature_distance
from tests.losses.data import flags, unit

B, D = 6, 5
STUDENT, TEACHER = unit(B, D, 1), unit(B, D, 2)
both_distances = pytest.mark.parametrize("distance", ["mse", "cosine"])


def built(student, teacher, *arguments):
    term = FeatureMatch("image", "image", *arguments)
    term.build({"image": student}, {"image": teacher}, {})
    return term.double()


def test_mse_is_a_mean_over_elements_of_unit_vectors_as_in_clip_kd():
    expected = F.mse_loss(F.normalize(3 * STUDENT, dim=1), F.normalize(TEACHER, dim=1))
    torch.testing.assert_close(feature_distance(3 * STUDENT, TEACHER, "mse").mean(), expected)


def test_cosine_is_torchs_and_mse_is_two_over_d_of_it():
    cosine = feature_distance(STUDENT, TEACHER, "cosine")
    torch.testing.assert_close(cosine, 1 - F.cosine_similarity(STUDENT, TEACHER))
    torch.testing.assert_close(feature_distance(STUDENT, TEACHER, "mse"), 2 / D * cosine)


@pytest.mark.parametrize(("distance", "orthogonal", "opposite"), [("mse", 2 / D, 4 / D), ("cosine", 1, 2)])
def test_closed_forms(distance, orthogonal, opposite):
    x = torch.eye(D, dtype=torch.float64)
    assert feature_distance(x, x.roll(1, 0), distance).tolist() == pytest.approx([orthogonal] * D)
    assert feature_distance(x, -x, distance).tolist() == pytest.approx([opposite] * D)


@both_distances
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_exactly_zero_when_the_student_agrees(distance, dtype):
    same = TEACHER.to(dtype)
    assert (feature_distance(same, same, distance) == 0).all()


@both_distances
def test_small_distances_are_precise_in_float32(distance):
    close = F.normalize(TEACHER + 1e-4 * STUDENT, dim=1)  # 1 - cos is about 5e-9: lost if subtracted from 1 in float32
    expected = feature_distance(close, TEACHER, distance)
    found = feature_distance(close.float(), TEACHER.float(), distance)
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=0)


@both_distances
def test_half_precision_of_large_activations_does_not_overflow(distance):
    large = (1000 * STUDENT).half(), (1000 * TEACHER).half()
    expected = feature_distance(*(x.double() for x in large), distance)
    torch.testing.assert_close(feature_distance(*large, distance).double(), expected, rtol=1e-5, atol=0)


def test_it_matches_across_modalities_where_both_are_present():
    student = {"audio": STUDENT, "present/audio": flags("110111")}
    teacher = {"image": TEACHER, "present/image": flags("111101")}
    term = FeatureMatch("audio", "image")
    valid = flags("110101")
    torch.testing.assert_close(term(student, teacher, {}), feature_distance(STUDENT, TEACHER)[valid].mean())


def test_it_maps_where_widths_differ():
    teacher = unit(B, 8, 3)
    term = built(STUDENT, teacher, "cosine")
    value = term({"image": STUDENT}, {"image": teacher}, {})
    own = term.adapter.chosen.map
    assert value == feature_distance(F.linear(STUDENT, own.weight, own.bias), teacher, "cosine").mean()
    value.backward()
    assert own.weight.grad.abs().sum() > 0


def test_it_has_no_parameters_where_they_do_not():
    assert not list(built(STUDENT, TEACHER).parameters())


def test_maps_are_referred_to_the_term_for_them():
    with pytest.raises(InputError, match=r"teacher\.image has the shape \(6, 8, 2, 2\).* Hint"):
        built(STUDENT, torch.randn(B, 8, 2, 2))


def test_a_batch_must_have_been_seen():
    with pytest.raises(InputError, match="Show the objective one batch before training"):
        FeatureMatch("image", "image")({"image": STUDENT}, {"image": unit(B, 8, 3)}, {})
