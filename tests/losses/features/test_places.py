import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import OFD, VID, AttentionTransfer, Hint, ReviewKD
from kdmm.losses.features.places import by_sample, checked_layers, compared
from tests.losses.cases.stages import randoms
from tests.losses.data import flags

B, T, D = 4, 3, 2
TOKENS = randoms(1, B, T, D)


def test_a_place_weighs_the_same_in_a_long_sample_as_in_a_short_one():
    values = torch.tensor([[1.0, 2.0, 3.0], [7.0, 100.0, 100.0]], dtype=torch.float64)
    places = torch.tensor([[True, True, True], [True, False, False]])
    assert by_sample(values, places, flags("101")).tolist() == [6 * 2 / 4, 0, 7 * 2 / 4]
    assert by_sample(values, places, flags("11")).mean() == (1 + 2 + 3 + 7) / 4


def test_a_sample_counts_where_both_have_it_and_a_place_in_every_layer():
    student = {"a": TOKENS, "b": TOKENS, "present/a": flags("0111")}
    marked = torch.tensor([[True] * 3, [True] * 3, [False] * 3, [True, False, False]])
    teacher = {"a": TOKENS, "b": TOKENS, "valid/b": marked, "present/b": flags("1011")}
    layers, there = compared(student, teacher, [("a", "a"), ("b", "b")])
    assert there.tolist() == [False, False, False, True]
    assert [layer.places.tolist() for layer in layers] == [[[True, True, True]], [[True, False, False]]]
    assert (layers[1].student[0, 1:] == 0).all(), "what does not count is zero"
    assert torch.equal(layers[1].teacher[0, 0], TOKENS[3, 0])


def test_places_of_the_student_that_the_teacher_does_not_have_are_refused():
    student = {"a": TOKENS, "valid/a": torch.ones(B, T, dtype=torch.bool)}
    with pytest.raises(InputError, match=r"valid/a marks the places of student\.a, \(4, 3, 2\), but teacher\.b is"):
        compared(student, {"b": randoms(2, B, 5, D)}, [("a", "b")])


def test_the_teachers_places_count_where_the_students_are_others():
    marked = torch.ones(B, 5, dtype=torch.bool)
    marked[:, 2:] = False
    term = Hint("a", "b")
    teacher = {"b": torch.where(marked[..., None], randoms(2, B, 5, D), torch.nan), "valid/b": marked}
    term.build({"a": TOKENS}, teacher, {})
    mapped = term.adapter(TOKENS, teacher["b"])
    expected = (mapped - teacher["b"])[:, :2].square().mean()
    torch.testing.assert_close(term({"a": TOKENS}, teacher, {}), expected)


@pytest.mark.parametrize("kind", [AttentionTransfer, OFD, VID, ReviewKD])
def test_no_layers_are_refused(kind):
    with pytest.raises(InputError, match=f"{kind.__name__}: layers is empty"):
        kind({})


def test_layers_are_pairs_in_the_order_given():
    assert checked_layers("VID", {"b": "x", "a": "y"}) == (("b", "x"), ("a", "y"))
