import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import AttentionTransfer, attention_distance
from tests.losses.cases.stages import randoms


def lit(place, size=5):
    """Tokens of which one alone is not zero."""
    return F.one_hot(torch.tensor([place]), size)[..., None].double()


def test_attention_at_other_places_has_the_distance_of_orthogonal_vectors():
    places = torch.ones(1, 5, dtype=torch.bool)
    assert attention_distance(lit(1), 7 * lit(1).expand(-1, -1, 3), places).item() == 0
    assert attention_distance(lit(1), lit(3), places).item() == pytest.approx(2 / 5)
    places[0, 0] = False
    assert attention_distance(lit(1), lit(3), places).item() == pytest.approx(2 / 4)


@pytest.mark.parametrize("shapes", [((2, 3, 6, 4), (2, 5, 3, 2)), ((2, 6, 3), (2, 4, 5))])
def test_the_students_attention_is_resized_to_the_teachers_places(shapes):
    student, teacher = randoms(1, *shapes[0]), randoms(2, *shapes[1])
    channel, mode = (1, "bilinear") if student.ndim == 4 else (2, "linear")
    ours, theirs = student.square().mean(channel), teacher.square().mean(channel)
    ours = F.interpolate(ours[:, None], size=theirs.shape[1:], mode=mode)[:, 0]
    expected = F.mse_loss(F.normalize(ours.flatten(1)), F.normalize(theirs.flatten(1)))
    term = AttentionTransfer({"x": "x"})
    term.build({"x": student}, {"x": teacher}, {})
    torch.testing.assert_close(term({"x": student}, {"x": teacher}, {}), expected)


def test_a_dead_layer_has_finite_gradients():
    student = torch.zeros(2, 4, 3, 3, requires_grad=True)
    AttentionTransfer({"x": "x"})({"x": student}, {"x": torch.randn(2, 4, 3, 3)}, {}).backward()
    assert student.grad.isfinite().all()


def test_large_half_precision_activations_do_not_overflow():
    student, teacher = (1000 * randoms(1, 2, 4, 3, 3)).half(), (1000 * randoms(2, 2, 4, 3, 3)).half()
    places = torch.ones(2, 3, 3, dtype=torch.bool)
    found = attention_distance(student, teacher, places)
    expected = attention_distance(student.double(), teacher.double(), places)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("ours", "theirs"), [((2, 5), (2, 5)), ((2, 5, 3), (2, 3, 4, 4))])
def test_layers_without_places_are_refused(ours, theirs):
    with pytest.raises(InputError, match=r"AttentionTransfer: student\.x is .* and teacher\.y is .* two layers"):
        AttentionTransfer({"x": "y"}).build({"x": torch.empty(ours)}, {"y": torch.empty(theirs)}, {})
