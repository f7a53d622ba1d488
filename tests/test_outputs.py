import pytest
import torch

from kdmm.errors import InputError
from kdmm.outputs import present, read, scatter_present


def test_read_returns_the_tensor_itself():
    image = torch.ones(2, 3)
    assert read({"image": image}, "image", "student") is image


def test_read_of_a_missing_name_says_whose_and_what_there_is():
    with pytest.raises(InputError) as raised:
        read({"image": torch.ones(2, 3), "text": torch.ones(2, 3)}, "imag", "teacher")
    assert "teacher.imag" in str(raised.value)
    assert "image, text" in str(raised.value)
    assert "Did you mean 'image'?" in str(raised.value)


def test_read_from_empty_outputs_says_nothing():
    with pytest.raises(InputError, match="gives only nothing"):
        read({}, "image", "student")


def test_present_is_the_flag_given():
    flag = torch.tensor([True, False])
    assert present({"image": torch.ones(2, 3), "present/image": flag}, "image") is flag


def test_present_without_a_flag_is_everything():
    assert present({"image": torch.ones(2, 3)}, "image").tolist() == [True, True]


def test_present_of_what_is_not_there_says_whose_and_what_there_is():
    with pytest.raises(InputError, match=r"reads teacher\.text, but the teacher gives only image\. If .* a store"):
        present({"image": torch.ones(2, 3)}, "text", "teacher")
    with pytest.raises(InputError, match=r"reads student\.text, but the student gives only image\.$"):
        present({"image": torch.ones(2, 3)}, "text", "student")


def test_scatter_present_places_rows_and_their_gradient():
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    out = scatter_present(rows, torch.tensor([False, True, False, True]))
    assert out.tolist() == [[0, 0], [1, 2], [0, 0], [3, 4]]
    (out * torch.arange(8.0).view(4, 2)).sum().backward()
    assert rows.grad.tolist() == [[2, 3], [6, 7]]


def test_scatter_present_does_not_copy_when_nothing_is_missing():
    rows = torch.ones(2, 3)
    assert scatter_present(rows, torch.tensor([True, True])) is rows


def test_scatter_present_of_no_rows_is_zero():
    out = scatter_present(torch.ones(0, 3), torch.tensor([False, False]))
    assert out.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("shape", [(1,), (1, 2, 3)])
def test_scatter_present_keeps_trailing_axes_and_type(shape):
    out = scatter_present(torch.ones(1, *shape, dtype=torch.float64), torch.tensor([False, True]))
    assert out.shape == (2, *shape)
    assert out.dtype is torch.float64
