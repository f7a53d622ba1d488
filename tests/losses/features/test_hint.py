import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import AttentionPool, Hint, hint_error
from tests.losses.cases.stages import randoms
from tests.losses.data import flags


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 4), (3, 4, 5, 2)])
def test_it_is_a_mean_over_elements(shape):
    student, teacher = randoms(1, *shape), randoms(2, *shape)
    torch.testing.assert_close(hint_error(student, teacher).mean(), F.mse_loss(student, teacher))
    torch.testing.assert_close(Hint("x", "x")({"x": student}, {"x": teacher}, {}), F.mse_loss(student, teacher))


def test_it_compares_what_both_have():
    student = {"x": randoms(1, 4, 3), "present/x": flags("1101")}
    teacher = {"y": randoms(2, 4, 3), "present/y": flags("0111")}
    expected = F.mse_loss(student["x"][[1, 3]], teacher["y"][[1, 3]])
    torch.testing.assert_close(Hint("x", "y")(student, teacher, {}), expected)


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 4, 5, 2)])
def test_places_are_pooled_to_a_vector(shape):
    student, teacher = {"x": randoms(1, *shape)}, {"y": randoms(2, 3, 6)}
    term = Hint("x", "y", adapter=AttentionPool())
    term.build(student, teacher, {})
    term.double()
    expected = F.mse_loss(term.adapter(student["x"], teacher["y"]), teacher["y"])
    torch.testing.assert_close(term(student, teacher, {}), expected)


def test_layers_that_no_adapter_fits_are_refused():
    with pytest.raises(InputError, match="Fit cannot map the student's"):
        Hint("x", "y").build({"x": randoms(1, 3, 4)}, {"y": randoms(2, 3, 4, 5)}, {})
