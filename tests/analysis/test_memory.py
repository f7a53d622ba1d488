import torch
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential

from kdmm.analysis.memory import LiveBytes, bytes_of, tensors_in

CPU = torch.device("cpu")
ROWS, WIDTH = 64, 32
ONE = 4 * ROWS * WIDTH


def test_each_storage_counts_once_and_as_long_as_it_lives():
    x = torch.ones(ROWS, WIDTH)
    with LiveBytes(CPU, [x, x[1:]]) as live:
        assert live.now == ONE
        y = x + 1
        z = y.t()[2:]
        y += 1
        assert live.now == live.peak == 2 * ONE
        del y
        assert live.now == 2 * ONE  # z looks at it
        del z
        assert live.now == ONE
        w = (x + 1).mul(2)
        assert live.peak == 3 * ONE
        assert live.now == 2 * ONE
    v = w + 1
    assert live.now == 2 * ONE
    del w, v
    assert live.now == ONE


def kept_and_peak(layers, forward=None, dtype=None):
    """What is kept between a forward pass and a backward pass, and the peak of both, without input and weights."""
    x = torch.ones(ROWS, WIDTH, requires_grad=True)
    there = [x, *layers.parameters()]
    context = torch.autocast("cpu", dtype, enabled=dtype is not None)
    with LiveBytes(CPU, there) as live, context:
        loss = (forward or layers)(x).sum()
        kept = live.now
        torch.autograd.backward([loss])
    return kept - bytes_of([*there, loss]), live.peak - bytes_of(there)


def test_what_autograd_keeps_is_alive_until_the_backward_pass_has_used_it():
    kept, most = kept_and_peak(nn.Sequential(*[nn.Sigmoid() for _ in range(8)]))
    assert kept == 8 * ONE  # a sigmoid keeps what it returns
    assert 9 * ONE <= most < 11 * ONE  # and the gradients of its output and input


def test_half_precision_keeps_half_and_checkpointing_less():
    layers = nn.Sequential(*[nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.Sigmoid()) for _ in range(8)])
    weights = 8 * 2 * WIDTH * WIDTH  # their copies in bfloat16
    kept, most = kept_and_peak(layers)
    assert kept == 8 * ONE  # a linear layer keeps its input, which is what the sigmoid before it returns
    halved, _ = kept_and_peak(layers, dtype=torch.bfloat16)
    assert halved == 8 * ONE // 2 + weights + ONE // 2  # and the first input in bfloat16
    again, less = kept_and_peak(layers, lambda x: checkpoint_sequential(layers, 4, x, use_reentrant=False))
    assert again == 3 * ONE + 2 * ONE  # three parts keep the input of the next; the last one runs as ever
    assert less < most - 2 * ONE


def test_bytes_of_nested_tensors():
    x = torch.ones(ROWS, WIDTH)
    nested = {"a": x, "b": [x[:2], (torch.ones(3, dtype=torch.half), "text")], "c": None}
    assert len(list(tensors_in(nested))) == 3
    assert bytes_of(tensors_in(nested)) == ONE + 6
