import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import Affinity, Contrastive, InteractiveContrastive, Term
from kdmm.losses.term import checked_choice, checked_temperature, named_pair, scale_of
from tests.losses.data import scalar


@pytest.mark.parametrize("kind", [Contrastive, Affinity, InteractiveContrastive])
@pytest.mark.parametrize("pair", [["image"], ["image", "image"], ["image", "text", "audio"], "it", []])
def test_a_pair_is_two_different_names(kind, pair):
    with pytest.raises(InputError, match=rf"{kind.__name__}: pair is .* \[image, text\]"):
        kind(pair)


def test_a_wrong_choice_lists_the_accepted_and_the_nearest():
    assert checked_choice("form", "softmax", ("softmax", "sigmoid")) == "softmax"
    with pytest.raises(InputError, match=r"form is 'sigmod'. Give softmax or sigmoid. Did you mean 'sigmoid'\?"):
        checked_choice("form", "sigmod", ("softmax", "sigmoid"))


@pytest.mark.parametrize("value", [0, -0.1, math.nan])
@pytest.mark.parametrize(
    "build",
    [
        lambda t: Affinity(["image", "text"], teacher_temperature=t),
        lambda t: Affinity(["image", "text"], student_temperature=t),
        lambda t: InteractiveContrastive(["image", "text"], temperature=t),
    ],
)
def test_a_temperature_is_above_zero(build, value):
    with pytest.raises(InputError, match="temperature is"):
        build(value)


def test_no_temperature_and_whole_numbers_are_fine():
    assert checked_temperature("t", None) is None
    assert checked_temperature("t", 1) == 1


def test_scale_is_the_models_own_or_one_over_the_temperature():
    pair, outputs = ("text", "image"), {"logit_scale": scalar(20.0)}
    assert scale_of(outputs, None, "student", pair) is outputs["logit_scale"]
    assert scale_of(outputs, 0.5, "student", pair) == 2
    outputs["logit_scale/image-text"] = scalar(30.0)
    assert scale_of(outputs, None, "student", pair) is outputs["logit_scale/image-text"]
    with pytest.raises(InputError, match=r"teacher\.logit_scale"):
        scale_of({"image": torch.ones(1, 1)}, None, "teacher", pair)


@pytest.mark.parametrize("arguments", [{}, {"pair": None}, {"pair": "image"}, {"pair": 3}, {"pair": [1, None]}])
def test_names_of_a_wrong_pair_are_none(arguments):
    assert named_pair(arguments) == frozenset()


def test_a_term_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Term()
