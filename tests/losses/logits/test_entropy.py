import math

import pytest
import torch

from kdmm.losses import mean_entropy
from tests.oracles import logits as oracle

SCORES = 2 * torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [1, 4.0])
def test_it_equals_the_loop(temperature):
    assert mean_entropy(SCORES, temperature).item() == pytest.approx(oracle.mean_entropy(SCORES, temperature))


def test_it_is_from_0_to_log_c():
    assert mean_entropy(torch.tensor([[1000.0, 0.0, 0.0]])) == 0
    assert mean_entropy(torch.zeros(4, 7)).item() == pytest.approx(math.log(7))
    assert mean_entropy(SCORES, 1e6).item() == pytest.approx(math.log(5))


def test_masked_classes_have_no_share_and_tokens_count_alike():
    masked = torch.cat([SCORES, torch.full((6, 2), -math.inf, dtype=torch.float64)], 1)
    torch.testing.assert_close(mean_entropy(masked), mean_entropy(SCORES))
    torch.testing.assert_close(mean_entropy(SCORES.reshape(2, 3, 5)), mean_entropy(SCORES))


def test_half_precision_is_widened_and_no_gradient_is_kept():
    low = SCORES.bfloat16().requires_grad_()
    value = mean_entropy(low)
    assert value.dtype is torch.float32
    assert not value.requires_grad
    torch.testing.assert_close(value.double(), mean_entropy(low.double()), rtol=1e-5, atol=0)
