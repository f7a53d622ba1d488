import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import AugmentedFeature, softmax_contrast
from tests.losses.data import unit

B, D, E = 6, 5, 7
STUDENT = {"image": unit(B, D, 1), "text": unit(B, D, 2)}
TEACHER = {"image": unit(B, E, 3), "text": unit(B, E, 4)}


def built(**settings):
    torch.manual_seed(0)
    term = AugmentedFeature(["image", "text"], **settings)
    term.build(STUDENT, TEACHER, {})
    return term.double()


def fused(term):
    for name, layer in (("image", term.first_fusion), ("text", term.second_fusion)):
        yield F.normalize(layer(torch.cat([STUDENT[name], TEACHER[name]], 1)), dim=1)


def test_it_contrasts_fused_embeddings_at_its_own_scale():
    term = built()
    value = term(STUDENT, TEACHER, {})
    torch.testing.assert_close(value, softmax_contrast(*fused(term), 1 / 0.07), rtol=1e-6, atol=0)
    value.backward()
    assert all(p.grad.abs().sum() > 0 for p in term.parameters())
    assert {name for name, _ in term.named_parameters()} == {
        "log_scale",
        *(f"{place}_fusion.{kind}" for place in ("first", "second") for kind in ("weight", "bias")),
    }


def test_a_set_temperature_is_no_parameter():
    term = built(temperature=0.2)
    torch.testing.assert_close(term(STUDENT, TEACHER, {}), softmax_contrast(*fused(term), 5.0))
    assert len(list(term.parameters())) == 4


def test_the_learned_scale_is_at_most_100():
    term = built()
    term.log_scale.data.fill_(9.0)
    torch.testing.assert_close(term(STUDENT, TEACHER, {}), softmax_contrast(*fused(term), 100.0))


def test_fused_embeddings_are_as_wide_as_the_students():
    term = built()
    assert term.first_fusion.weight.shape == (D, D + E)


def test_layers_must_be_made_and_of_vectors():
    with pytest.raises(InputError, match="Show the objective one batch before training"):
        AugmentedFeature(["image", "text"])(STUDENT, TEACHER, {})
    with pytest.raises(InputError, match=r"student\.image has the shape \(6, 5, 2\)"):
        AugmentedFeature(["image", "text"]).build({**STUDENT, "image": torch.zeros(B, D, 2)}, TEACHER, {})
