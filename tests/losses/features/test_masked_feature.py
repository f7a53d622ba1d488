import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import MaskedFeature, hint_error
from tests.losses.cases.stages import randoms

SHAPES = [(4, 30, 5), (4, 5, 8, 6)]


def built(shape, ratio, **arguments):
    student, teacher = {"x": randoms(1, *shape).requires_grad_()}, {"x": randoms(2, *shape)}
    term = MaskedFeature("x", "x", ratio, **arguments)
    term.build(student, teacher, {})
    return term.double(), student, teacher


def seen(term, student, teacher):
    """Which places of the student have a gradient where each place sees itself alone."""
    with torch.no_grad():
        for layer in (term.generator.first, term.generator.second):
            middle = layer.weight[..., 1:2] if layer.weight.ndim == 3 else layer.weight[..., 1:2, 1:2]
            kept = middle.clone()
            layer.weight.zero_()
            middle.copy_(kept.abs() + 0.1)
            layer.bias.fill_(10.0)  # keeps the ReLU open
    student["x"].grad = None
    term(student, teacher, {}).backward()
    return (student["x"].grad != 0).any(1 if student["x"].ndim == 4 else -1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.75])
def test_about_the_ratio_of_places_is_hidden_whole_and_anew_each_time(shape, ratio):
    term, student, teacher = built(shape, ratio)
    first, second = seen(term, student, teacher), seen(term, student, teacher)
    assert abs(first.double().mean().item() - (1 - ratio)) < 0.15
    assert torch.equal(first, second) == (ratio == 0)
    assert (ratio == 0) or not torch.equal(first[0], first[1]), "each sample has its own"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_generator_of_the_seed_decides_the_places(shape):
    term, student, teacher = built(shape, 0.5)
    torch.manual_seed(1)
    value = term(student, teacher, {})
    assert term(student, teacher, {}) != value
    torch.manual_seed(1)
    assert term(student, teacher, {}) == value


@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_hides_nothing_and_repeats(shape):
    term, student, teacher = built(shape, 0.9)
    term.eval()
    expected = hint_error(term.generator(student["x"]), teacher["x"]).mean()
    assert term(student, teacher, {}) == term(student, teacher, {})
    torch.testing.assert_close(term(student, teacher, {}), expected)
    assert seen(term, student, teacher).all()


def test_a_ratio_of_1_leaves_nothing():
    with pytest.raises(InputError, match="MaskedFeature: ratio is 1"):
        MaskedFeature("x", "x", 1.0)
    with pytest.raises(InputError, match=r"MaskedFeature: ratio is -0\.1"):
        MaskedFeature("x", "x", -0.1)


def test_vectors_have_no_places():
    with pytest.raises(InputError, match=r"teacher\.x is \(4, 5\) and has no places to mask"):
        built((4, 5), 0.5)


def test_detection_knows_it_as_mgd():
    from kdmm.losses.dense import MGD

    assert MGD is MaskedFeature
