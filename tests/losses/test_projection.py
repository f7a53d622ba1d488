import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses.projection import Projection


@pytest.mark.parametrize("widths", [(None, None), (4, 4)])
def test_equal_widths_pass_through(widths):
    x = torch.randn(3, 4)
    assert Projection("T", *widths)(x, torch.randn(3, 4)) is x


def test_different_widths_are_mapped_linearly():
    projection = Projection("T", 4, 6)
    x = torch.randn(3, 4)
    expected = x @ projection.map.weight.T + projection.map.bias
    torch.testing.assert_close(projection(x, torch.randn(3, 6)), expected)


def test_the_map_is_computed_in_float32_under_autocast():
    projection = Projection("T", 4, 6)
    x = torch.randn(3, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mapped = projection(x, torch.randn(3, 6))
    torch.testing.assert_close(mapped, projection(x.float(), torch.randn(3, 6)))


@pytest.mark.parametrize(
    ("widths", "found", "message"),
    [
        ((None, None), (4, 6), r"T: the student's embedding is 4 wide.* Set student_width: 4 and teacher_width: 6"),
        ((5, 6), (4, 6), r"student_width is 5 and teacher_width is 6"),
        ((4, 4), (4, 6), r"student_width is 4 and teacher_width is 4"),
    ],
)
def test_widths_that_are_not_those_found_are_explained(widths, found, message):
    with pytest.raises(InputError, match=message):
        Projection("T", *widths)(torch.randn(3, found[0]), torch.randn(3, found[1]))


@pytest.mark.parametrize(
    ("widths", "message"), [((4, None), "Give both"), ((None, 6), "Give both"), ((0, 6), "student_width is 0")]
)
def test_wrong_settings_are_refused(widths, message):
    with pytest.raises(InputError, match=message):
        Projection("T", *widths)
