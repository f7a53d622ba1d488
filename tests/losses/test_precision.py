import pytest
import torch

from kdmm.losses.precision import full_precision


@full_precision
def product(a, b, flag=None):
    return a @ b


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.float16, torch.float32, torch.float32),
        (torch.bfloat16, torch.float16, torch.float32),
        (torch.float32, torch.float64, torch.float64),
        (torch.float64, torch.bfloat16, torch.float64),
    ],
)
def test_computes_in_the_widest_type_and_at_least_float32(first, second, expected):
    assert product(torch.ones(2, 2, dtype=first), b=torch.ones(2, 2, dtype=second)).dtype is expected


def test_autocast_is_off_inside_and_on_again_after():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(torch.ones(2, 2), torch.ones(2, 2)).dtype is torch.float32
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16


def test_other_arguments_pass_unchanged_and_the_gradient_keeps_the_inputs_type():
    a = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    product(a, torch.ones(2, 2), flag=torch.tensor([True])).sum().backward()
    assert a.grad.dtype is torch.bfloat16
